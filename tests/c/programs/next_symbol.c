/* Another preloaded library that wraps a function by dlsym(RTLD_NEXT), as profilers do: the lookup
 * must start behind *this* library, though it goes through the interceptor's dlsym. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

int cuCtxSetCurrent(void *context);

int cuCtxSetCurrent(void *context) {
    int (*next)(void *);
    *(void **)&next = dlsym(RTLD_NEXT, "cuCtxSetCurrent");
    if (next == cuCtxSetCurrent || next == NULL) {
        fputs("dlsym lost its caller\n", stderr);
        return 999;
    }
    fputs("wrapped\n", stderr);
    return next(context);
}
