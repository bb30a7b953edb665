/* The real functions, and who is given ours instead.
 *
 * Programs reach a runtime in three ways: by linking (our exported symbol comes first, being
 * preloaded), by dlsym and dlvsym (we export those too), and by the runtime's own lookup, such as
 * cuGetProcAddress (hooked in hooks_cuda_lookup.c). A lookup is answered with our hook only where
 * it would have found the very function that the hook calls: another library's function of the
 * same name is left alone, and what only we have is not there.
 *
 * A library that is opened with RTLD_DEEPBIND is bound to the runtime below it, before us. It stays
 * as it is, only what it got of the functions that we hook is exchanged behind its back, after its
 * constructors have run.
 */
#ifndef HCS_SYMBOLS_H
#define HCS_SYMBOLS_H

#include <stddef.h>

#define HCS_HOOK __attribute__((visibility("default")))

/* A vendor's library, by the names it may have been loaded under; the first that is loaded and has
 * the symbol counts. */
struct hcs_library {
    const char *sonames[8];
};

struct hcs_symbol {
    const char *name; /* as the library exports it */
    const struct hcs_library *library;
    void *hook; /* ours; NULL: only called by us */
    void *real; /* found with its first use */
};

/* Declare `find_NAME`, and make it known to the lookups. */
#define HCS_SYMBOL(NAME, LIBRARY, HOOKED_BY)                                                      \
    static struct hcs_symbol find_##NAME = {#NAME, &(LIBRARY), HOOKED_BY, 0};                     \
    static struct hcs_symbol *const known_##NAME                                                  \
        __attribute__((section("hcs_symbols"), used)) = &find_##NAME

/* Look for the vendor's function. */
void *hcs_resolve(struct hcs_symbol *symbol);

/* The vendor's function, NULL when its library is not loaded or has no such symbol. A library whose
 * name we do not know is of a version that we do not know: functions that we hook are found in it,
 * if the program is linked with it, others are not. Keeps errno. */
static inline void *hcs_real(struct hcs_symbol *symbol) {
    void *function = __atomic_load_n(&symbol->real, __ATOMIC_ACQUIRE);
    return __builtin_expect(function != NULL, 1) ? function : hcs_resolve(symbol);
}

/* For a library's own lookup by name: our hook of that name, else what it found. */
void *hcs_hook_instead(const struct hcs_library *library, const char *name, void *function);

/* The same for a lookup that finds what is exported, under whatever name: our hook of that. */
void *hcs_hook_of(const struct hcs_library *library, void *function);

#endif
