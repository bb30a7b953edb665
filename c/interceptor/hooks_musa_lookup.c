/* Moore Threads: the driver's own lookup. It is CUDA's in its first form (four parameters); a plain
 * name stands for what is exported under it, or with `_v2`, or with `_ptsz` for other streams. */
#include <stdio.h>

#include "hooks_musa.h"

#define LIBRARY hcs_musa_library

HCS_HOOK int muGetProcAddress(const char *symbol, void **function, int version, uint64_t flags);
HCS_SYMBOL(muGetProcAddress, LIBRARY, muGetProcAddress);

enum { PER_THREAD_STREAM = 2 }; /* the flag that asks for the _ptsz form */
#define NAME_BYTES_MAX 96       /* longer than any that we hook */

/* Our hook of the form that was asked for, or what the driver found. */
static void *instead(const char *symbol, uint64_t flags, void *function) {
    static const char *const suffixes[] = {"_ptsz", "_v2", ""};
    for (size_t i = flags & PER_THREAD_STREAM ? 0 : 1; i < 3; i++) {
        char name[NAME_BYTES_MAX];
        snprintf(name, sizeof name, "%s%s", symbol, suffixes[i]);
        void *hook = hcs_hook_instead(&LIBRARY, name, function);
        if (hook != function) {
            return hook;
        }
    }
    return function;
}

int muGetProcAddress(const char *symbol, void **function, int version, uint64_t flags) {
    int (*real)(const char *, void **, int, uint64_t) = hcs_real(&find_muGetProcAddress);
    int result = real != NULL ? real(symbol, function, version, flags) : NOT_THERE;
    if (result == 0 && symbol != NULL && function != NULL && *function != NULL) {
        *function = instead(symbol, flags, *function);
    }
    return result;
}
