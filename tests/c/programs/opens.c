/* opens LIBRARY MODE WAY BYTES: open a library in a mode of dlopen, let it allocate, and print the
 * result (see plugin.c). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    if (argc != 5) {
        return 2;
    }
    void *library = dlopen(argv[1], atoi(argv[2]));
    int (*allocate)(const char *, size_t) =
        library != NULL ? (int (*)(const char *, size_t))dlsym(library, "allocate") : NULL;
    if (allocate == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    printf("%d\n", allocate(argv[3], strtoull(argv[4], NULL, 10)));
    return 0;
}
