/* Allocates by HIP's functions, looked up with their version; prints the result of BYTES. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    void *library = dlopen("libamdhip64.so", RTLD_NOW), *pointer;
    int (*allocate)(void **, size_t) =
        library != NULL ? (int (*)(void **, size_t))dlvsym(library, "hipMalloc", "hip_4.2") : NULL;
    if (allocate == NULL || argc != 2 || dlvsym(library, "hipMalloc", "hip_0.1") != NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    printf("%d\n", allocate(&pointer, strtoull(argv[1], NULL, 10)));
    return 0;
}
