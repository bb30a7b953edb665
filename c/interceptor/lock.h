/* A lock of one process in a word: two instructions when nobody else wants it, the kernel's queue
 * when somebody does. pthread's costs five times that, of every allocation.
 */
#ifndef HCS_LOCK_H
#define HCS_LOCK_H

#include <stdbool.h>
#include <stdint.h>

struct hcs_lock {
    uint32_t state; /* 0 free, 1 taken, 2 taken and somebody waits */
};

/* Wait until a lock that is taken becomes ours. Keeps errno. */
void hcs_lock_wait(struct hcs_lock *lock);
void hcs_lock_wake(struct hcs_lock *lock);

static inline bool hcs_lock_at_once(struct hcs_lock *lock) {
    uint32_t expected = 0;
    return __atomic_compare_exchange_n(&lock->state, &expected, 1, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

static inline void hcs_lock(struct hcs_lock *lock) {
    if (!hcs_lock_at_once(lock)) {
        hcs_lock_wait(lock);
    }
}

static inline void hcs_unlock(struct hcs_lock *lock) {
    if (__atomic_exchange_n(&lock->state, 0, __ATOMIC_RELEASE) == 2) {
        hcs_lock_wake(lock);
    }
}

#endif
