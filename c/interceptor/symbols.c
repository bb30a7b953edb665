/* See symbols.h. */
#define _GNU_SOURCE
#include "symbols.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

HCS_HOOK void *dlsym(void *restrict handle, const char *restrict name);

typedef void *dlsym_function(void *restrict, const char *restrict);

/* All that HCS_SYMBOL made known, as the linker collected them. */
extern struct hcs_symbol *const __start_hcs_symbols[] __attribute__((visibility("hidden")));
extern struct hcs_symbol *const __stop_hcs_symbols[] __attribute__((visibility("hidden")));

static dlsym_function *real_dlsym_found;

/* The versions under which the C library exports dlsym: since it is one (x86-64, AArch64), and
 * since libdl became part of libc. Old versions stay exported. */
static dlsym_function *find_dlsym(void) {
    static const char *const versions[] = {"GLIBC_2.34", "GLIBC_2.17", "GLIBC_2.2.5"};
    dlsym_function *found = NULL;
    for (size_t i = 0; found == NULL && i < sizeof versions / sizeof *versions; i++) {
        found = (dlsym_function *)dlvsym(RTLD_NEXT, "dlsym", versions[i]);
    }
    __atomic_store_n(&real_dlsym_found, found, __ATOMIC_RELEASE);
    return found;
}

/* Also before our constructor has run: other libraries' constructors look up symbols. */
static inline dlsym_function *real_dlsym(void) {
    dlsym_function *found = __atomic_load_n(&real_dlsym_found, __ATOMIC_ACQUIRE);
    return found != NULL ? found : find_dlsym();
}

void *hcs_resolve(struct hcs_symbol *symbol) {
    int saved_errno = errno;
    void *function = NULL;
    const char *const *soname = symbol->library->sonames;
    for (; function == NULL && *soname != NULL; soname++) {
        void *library = dlopen(*soname, RTLD_LAZY | RTLD_NOLOAD);
        if (library != NULL) {
            /* The handle is kept: what we call must not be unloaded under us. */
            function = real_dlsym()(library, symbol->name);
        }
    }
    __atomic_store_n(&symbol->real, function, __ATOMIC_RELEASE);
    errno = saved_errno;
    return function;
}

void *hcs_hook_instead(const struct hcs_library *library, const char *name, void *found) {
    for (struct hcs_symbol *const *known = __start_hcs_symbols;
         found != NULL && known < __stop_hcs_symbols; known++) {
        if ((*known)->library == library && (*known)->hook != NULL &&
            strcmp((*known)->name, name) == 0) {
            return (*known)->hook;
        }
    }
    return found;
}

/* The hook for what this lookup finds, or NULL. */
static void *hook_for(void *handle, const char *name) {
    for (struct hcs_symbol *const *known = __start_hcs_symbols; known < __stop_hcs_symbols;
         known++) {
        struct hcs_symbol *symbol = *known;
        if (symbol->hook != NULL && strcmp(symbol->name, name) == 0) {
            void *real = hcs_real(symbol);
            if (real == NULL) {
                return NULL;
            }
            /* RTLD_NEXT means "behind the caller": only the real lookup, tail-called, knows who
             * that is; behind anybody but ourselves stands the vendor's function. */
            void *found = handle == RTLD_NEXT ? real : real_dlsym()(handle, name);
            return found == real || found == symbol->hook ? symbol->hook : NULL;
        }
    }
    return NULL;
}

/* What all our names begin with: most lookups are none of our business. */
static bool candidate(const char *name) {
    return strncmp(name, "cu", 2) == 0 || strncmp(name, "nvml", 4) == 0 ||
           strncmp(name, "acl", 3) == 0 || strncmp(name, "rt", 2) == 0 ||
           strncmp(name, "hip", 3) == 0 || strncmp(name, "cn", 2) == 0 ||
           strncmp(name, "mu", 2) == 0 || strncmp(name, "dcmi", 4) == 0 ||
           strncmp(name, "mtml", 4) == 0 || strncmp(name, "rsmi", 4) == 0;
}

/* Must end in a jump, not a call: RTLD_NEXT and RTLD_DEFAULT are resolved relative to whoever the
 * return address belongs to. interceptor.mk compiles this file so, and a test looks. */
void *dlsym(void *restrict handle, const char *restrict name) {
    void *hook = candidate(name) ? hook_for(handle, name) : NULL;
    return hook != NULL ? hook : real_dlsym()(handle, name);
}
