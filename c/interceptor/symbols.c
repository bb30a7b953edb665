/* See symbols.h. */
#define _GNU_SOURCE
#include "symbols.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "account.h"
#include "config.h"
#include "objects.h"
#include "seldom.h"

HCS_HOOK void *dlsym(void *restrict handle, const char *restrict name);
HCS_HOOK void *dlvsym(void *restrict handle, const char *restrict name,
                      const char *restrict version);
HCS_HOOK void *dlopen(const char *file, int mode);

typedef void *dlsym_function(void *restrict, const char *restrict);
typedef void *dlvsym_function(void *restrict, const char *restrict, const char *restrict);
typedef void *dlopen_function(const char *, int);

/* All that HCS_SYMBOL made known, as the linker collected them. */
extern struct hcs_symbol *const __start_hcs_symbols[] __attribute__((visibility("hidden")));
extern struct hcs_symbol *const __stop_hcs_symbols[] __attribute__((visibility("hidden")));

static struct {
    dlvsym_function *dlvsym;
    dlsym_function *dlsym;
    dlopen_function *dlopen;
} found;

/* The next one behind us, which may be another preloaded library's. The versions are those under
 * which the C library exports it: since it is one (x86-64, AArch64), and since libdl became part of
 * libc. Old versions stay exported. */
static void *next(const char *name) {
    static const char *const versions[] = {"GLIBC_2.34", "GLIBC_2.17", "GLIBC_2.2.5"};
    dlvsym_function *look_up = __atomic_load_n(&found.dlvsym, __ATOMIC_ACQUIRE);
    void *function = NULL;
    if (look_up == NULL) {
        /* The first of all lookups has nothing to ask. */
        look_up = (dlvsym_function *)hcs_objects_in_libc("dlvsym");
        __atomic_store_n(&found.dlvsym, look_up, __ATOMIC_RELEASE);
    }
    for (size_t i = 0; function == NULL && i < sizeof versions / sizeof *versions; i++) {
        function = look_up(RTLD_NEXT, name, versions[i]);
    }
    return function;
}

/* Also before our constructor has run: other libraries' constructors look up symbols. */
#define REAL(NAME)                                                                                \
    static inline NAME##_function *real_##NAME(void) {                                            \
        NAME##_function *function = __atomic_load_n(&found.NAME, __ATOMIC_ACQUIRE);               \
        if (__builtin_expect(function == NULL, 0)) {                                              \
            function = (NAME##_function *)next(#NAME);                                            \
            __atomic_store_n(&found.NAME, function, __ATOMIC_RELEASE);                            \
        }                                                                                         \
        return function;                                                                          \
    }
REAL(dlsym)
REAL(dlvsym)
REAL(dlopen)

void *hcs_resolve(struct hcs_symbol *symbol) {
    int saved_errno = errno;
    void *function = NULL;
    bool loaded = false;
    const char *const *soname = symbol->library->sonames;
    for (; function == NULL && *soname != NULL; soname++) {
        void *library = real_dlopen()(*soname, RTLD_LAZY | RTLD_NOLOAD);
        if (library != NULL) {
            /* The handle is kept: what we call must not be unloaded under us. */
            function = real_dlsym()(library, symbol->name);
            loaded = true;
        }
    }
    if (!loaded && symbol->hook != NULL) {
        /* A version that we do not know: what was called goes there, and what the hook itself would
         * call is missed. */
        function = real_dlsym()(RTLD_NEXT, symbol->name);
    } else if (function == NULL) {
        hcs_missed();
    }
    __atomic_store_n(&symbol->real, function, __ATOMIC_RELEASE);
    errno = saved_errno;
    return function;
}

void *hcs_hook_instead(const struct hcs_library *library, const char *name, void *function) {
    for (struct hcs_symbol *const *known = __start_hcs_symbols;
         function != NULL && known < __stop_hcs_symbols; known++) {
        if ((*known)->library == library && (*known)->hook != NULL &&
            strcmp((*known)->name, name) == 0) {
            return (*known)->hook;
        }
    }
    return function;
}

void *hcs_hook_of(const struct hcs_library *library, void *function) {
    for (struct hcs_symbol *const *known = __start_hcs_symbols;
         function != NULL && known < __stop_hcs_symbols; known++) {
        if ((*known)->library == library && (*known)->hook != NULL &&
            hcs_real(*known) == function) {
            return (*known)->hook;
        }
    }
    return function;
}

static const char nothing; /* its address: there is nothing of that name */
#define NOTHING ((void *)&nothing)

/* What stands behind us, where only we have something of that name: no runtime has it, or none that
 * we know. A program that looks whether it is there is not to find our hook. */
static HCS_SELDOM void *behind_us(const char *name, const char *version) {
    void *function = version != NULL ? real_dlvsym()(RTLD_NEXT, name, version)
                                     : real_dlsym()(RTLD_NEXT, name);
    return function != NULL ? function : NOTHING; /* so it was no jump: the caller is us */
}

/* What this lookup is answered with, or NOTHING; NULL: what it finds. `version` NULL: of any. */
static void *answer_for(void *handle, const char *name, const char *version) {
    for (struct hcs_symbol *const *known = __start_hcs_symbols; known < __stop_hcs_symbols;
         known++) {
        struct hcs_symbol *symbol = *known;
        if (symbol->hook != NULL && strcmp(symbol->name, name) == 0) {
            void *real = hcs_real(symbol);
            /* RTLD_NEXT means "behind the caller": only the real lookup, tail-called, knows who
             * that is; behind anybody but ourselves stands the vendor's function. */
            void *there = handle == RTLD_NEXT ? real
                          : version != NULL   ? real_dlvsym()(handle, name, version)
                                              : real_dlsym()(handle, name);
            if (real == NULL) {
                return there == symbol->hook ? behind_us(name, version) : NULL;
            }
            return there == real || there == symbol->hook ? symbol->hook : NULL;
        }
    }
    return NULL;
}

/* What all our names begin with: most lookups are none of our business. */
static bool candidate(const char *name) {
    return strncmp(name, "cu", 2) == 0 || strncmp(name, "nvml", 4) == 0 ||
           strncmp(name, "acl", 3) == 0 || strncmp(name, "rt", 2) == 0 ||
           strncmp(name, "hip", 3) == 0 || strncmp(name, "_Z24hip", 7) == 0 ||
           strncmp(name, "cn", 2) == 0 || strncmp(name, "mu", 2) == 0 ||
           strncmp(name, "dcmi", 4) == 0 || strncmp(name, "mtml", 4) == 0 ||
           strncmp(name, "rsmi", 4) == 0;
}

/* What a library that was bound past us (RTLD_DEEPBIND) should have found. */
static void *instead(const char *name, void *bound) {
    if (strcmp(name, "dlsym") == 0) {
        return bound == (void *)real_dlsym() ? (void *)dlsym : NULL;
    }
    if (strcmp(name, "dlvsym") == 0) {
        return bound == (void *)real_dlvsym() ? (void *)dlvsym : NULL;
    }
    for (struct hcs_symbol *const *known = __start_hcs_symbols;
         candidate(name) && known < __stop_hcs_symbols; known++) {
        void *real = __atomic_load_n(&(*known)->real, __ATOMIC_ACQUIRE);
        if ((*known)->hook != NULL && real != NULL && bound == real) {
            return (*known)->hook;
        }
    }
    return NULL;
}

static bool bound_past_us; /* something may have been that we have not looked at */

static HCS_SELDOM void bind_to_us(void) {
    __atomic_store_n(&bound_past_us, false, __ATOMIC_RELAXED);
    for (struct hcs_symbol *const *known = __start_hcs_symbols; known < __stop_hcs_symbols;
         known++) {
        if ((*known)->hook != NULL) {
            hcs_real(*known); /* not while the loader goes through its objects */
        }
    }
    hcs_objects_rebind(instead);
}

/* Bound at once, so that there is something to exchange. What is only found relative to the caller
 * is not found here, and not bound to us before the program looks up something in it. */
static HCS_SELDOM void *open_bound_past_us(const char *file, int mode) {
    if (!hcs_config()->enforced) {
        return NULL;
    }
    void *library = real_dlopen()(file, (mode & ~RTLD_LAZY) | RTLD_NOW);
    if (library != NULL) {
        bind_to_us();
    }
    __atomic_store_n(&bound_past_us, library == NULL, __ATOMIC_RELAXED);
    return library;
}

/* These must end in a jump, not a call: RTLD_NEXT, RTLD_DEFAULT and a library's own search path are
 * resolved relative to whoever the return address belongs to. interceptor.mk compiles this file so,
 * and a test looks. */
void *dlsym(void *restrict handle, const char *restrict name) {
    if (__builtin_expect(__atomic_load_n(&bound_past_us, __ATOMIC_RELAXED), 0)) {
        bind_to_us();
    }
    void *answer = candidate(name) ? answer_for(handle, name, NULL) : NULL;
    if (answer != NULL) {
        return answer != NOTHING ? answer : NULL;
    }
    return real_dlsym()(handle, name);
}

void *dlvsym(void *restrict handle, const char *restrict name, const char *restrict version) {
    void *answer = candidate(name) ? answer_for(handle, name, version) : NULL;
    if (answer != NULL) {
        return answer != NOTHING ? answer : NULL;
    }
    return real_dlvsym()(handle, name, version);
}

void *dlopen(const char *file, int mode) {
    void *library = (mode & RTLD_DEEPBIND) != 0 ? open_bound_past_us(file, mode) : NULL;
    return library != NULL ? library : real_dlopen()(file, mode);
}
