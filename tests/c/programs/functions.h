/* How a program comes by its runtime's functions: linked, or with -DLOOKUP by dlsym, or with
 * -DPROC_ADDRESS by the runtime's own lookup. Includes the runtime's header, which is named by
 * -DRUNTIME="runtime_cuda.h", says LIBRARY and FUNCTIONS(X), with X(name, arguments) for each, and
 * has what the program does with them. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(LOOKUP) || defined(PROC_ADDRESS)
#define DECLARE(name, arguments) static int(*name) arguments;
#else
#define DECLARE(name, arguments) int name arguments;
#endif

#include RUNTIME

#if defined(PROC_ADDRESS)
#include "proc_address.h"
#elif defined(LOOKUP)
#define proc_address dlsym
#endif
#define TEXT(name) TEXT_OF(name) /* what a macro makes of it */
#define TEXT_OF(name) #name
#define FIND(name, arguments) *(void **)&name = proc_address(library, TEXT(name));

/* Before the first is called; without a library that is the end. */
static void find_functions(void) {
#if defined(LOOKUP) || defined(PROC_ADDRESS)
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    FUNCTIONS(FIND)
#endif
}
