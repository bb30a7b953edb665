/* See lock.h. */
#define _GNU_SOURCE
#include "lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "seldom.h"

HCS_SELDOM void hcs_lock_wait(struct hcs_lock *lock) {
    int saved_errno = errno;
    /* Whoever was asleep must leave it at 2: there may be others asleep behind. */
    while (__atomic_exchange_n(&lock->state, 2, __ATOMIC_ACQUIRE) != 0) {
        syscall(SYS_futex, &lock->state, FUTEX_WAIT_PRIVATE, 2, NULL);
    }
    errno = saved_errno;
}

HCS_SELDOM void hcs_lock_wake(struct hcs_lock *lock) {
    int saved_errno = errno;
    syscall(SYS_futex, &lock->state, FUTEX_WAKE_PRIVATE, 1);
    errno = saved_errno;
}
