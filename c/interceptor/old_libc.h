/* Included into every part (interceptor.mk): the library starts wherever glibc is 2.17 or newer.
 *
 * A loader that misses a version which a preloaded library asks for ends the program; in other
 * people's images that must not happen. What got a new version since is asked for by its first
 * one. Before 2.34 some of it is in libpthread, which not every program has: those are weak, and
 * without them there is but one thread.
 */
#ifndef HCS_OLD_LIBC_H
#define HCS_OLD_LIBC_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define HCS_FIRST_VERSION(X86_64) X86_64
#elif defined(__aarch64__)
#define HCS_FIRST_VERSION(X86_64) "2.17" /* the oldest glibc there */
#else
#error "what are the first versions of glibc's functions on this machine?"
#endif

#define HCS_FIRST(FUNCTION, X86_64)                                                               \
    __asm__(".symver " #FUNCTION "," #FUNCTION "@GLIBC_" HCS_FIRST_VERSION(X86_64));              \
    extern __typeof__(FUNCTION) FUNCTION __attribute__((weak))

HCS_FIRST(pthread_create, "2.2.5");
HCS_FIRST(pthread_attr_setstacksize, "2.2.5");
HCS_FIRST(pthread_mutex_timedlock, "2.2.5");
HCS_FIRST(pthread_once, "2.2.5");
HCS_FIRST(pthread_sigmask, "2.2.5");
HCS_FIRST(pthread_setname_np, "2.12");

static inline void hcs_once(pthread_once_t *once, void (*act)(void)) {
    if (pthread_once != NULL) {
        pthread_once(once, act);
    } else if (*once == PTHREAD_ONCE_INIT) {
        *once = 2; /* glibc's word for done, should a library bring libpthread later */
        act();
    }
}

/* Functions since 2.33; before, macros around others. */
static inline int hcs_fstat(int fd, struct stat *out) {
    return (int)syscall(SYS_newfstatat, fd, "", out, AT_EMPTY_PATH);
}
static inline int hcs_stat(const char *path, struct stat *out) {
    return (int)syscall(SYS_newfstatat, AT_FDCWD, path, out, 0);
}
#define fstat(FD, OUT) hcs_fstat(FD, OUT)
#define stat(PATH, OUT) hcs_stat(PATH, OUT)

#endif
