/* A library that allocates by what it is linked with, or by its own lookup. With -DOWN it has a
 * function of that name itself, and with -DSIBLING it opens a library beside it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cuInit(unsigned);
int cuDevicePrimaryCtxRetain(void **, int);
int cuCtxSetCurrent(void *);
int cuMemAlloc_v2(uint64_t *, size_t);

typedef int allocate_function(uint64_t *, size_t);
int allocate(const char *way, size_t bytes);

#ifdef OWN
int cuMemAlloc_v2(uint64_t *pointer, size_t bytes) { return (*pointer = bytes) != 0 ? 4711 : 0; }
#endif

static allocate_function *look_up(const char *way) {
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    bool by_symbol = strcmp(way, "symbol") == 0;
    return by_symbol ? (allocate_function *)dlsym(library, "cuMemAlloc_v2") : cuMemAlloc_v2;
}

int allocate(const char *way, size_t bytes) {
    void *context;
    uint64_t pointer;
#ifdef SIBLING
    void *beside = dlopen("libbeside.so", RTLD_NOW | SIBLING);
    int (*its)(const char *, size_t) =
        beside != NULL ? (int (*)(const char *, size_t))dlsym(beside, "allocate") : NULL;
    return its != NULL ? its(way, bytes) : -1;
#endif
    if (cuInit(0) != 0 || cuDevicePrimaryCtxRetain(&context, 0) != 0 ||
        cuCtxSetCurrent(context) != 0) {
        return -2;
    }
    return look_up(way)(&pointer, bytes);
}
