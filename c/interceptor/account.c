/* See account.h. */
#define _GNU_SOURCE
#include "account.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "config.h"
#include "debug.h"
#include "handles.h"
#include "ledger_file.h"
#include "overhead.h"
#include "report.h"
#include "seldom.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of joining */
static struct hcs_ledger *ledger; /* set last, with release; NULL: not joined, or no use */
static unsigned slot;
static bool useless; /* no ledger or no slot: do not try again */

/* Whether this thread is in a hooked call, and has missed a function of the vendor's there. */
enum { OUTSIDE = 0, INSIDE = 1, MISSED = 2 };
static __thread unsigned where __attribute__((tls_model("initial-exec")));

static bool blind; /* somebody had to take memory or time without knowing of which card */

bool hcs_enter(void) {
    if (where != OUTSIDE) {
        return false;
    }
    where = INSIDE;
    return true;
}

void hcs_leave(void) { where = OUTSIDE; }

void hcs_missed(void) { where |= where != OUTSIDE ? MISSED : OUTSIDE; }

/* The child has an account of its own. The parent's mapping stays: the parent's other threads may
 * have been anywhere. */
static void after_fork_in_child(void) {
    ledger = NULL;
    where = OUTSIDE;
    blind = useless = false;
    pthread_mutex_init(&mutex, NULL);
    hcs_blocks_forget();
    hcs_handles_forget();
    hcs_overhead_forget();
    hcs_report_forget();
}

/* Before any of our locks is taken: a fork meanwhile would leave it locked in the child for ever. A
 * constructor is early enough, but for those that run before it. */
static bool forks_watched;
__attribute__((constructor)) static void watch_forks(void) {
    if (!__atomic_load_n(&forks_watched, __ATOMIC_RELAXED) &&
        pthread_atfork(NULL, NULL, after_fork_in_child) == 0) {
        __atomic_store_n(&forks_watched, true, __ATOMIC_RELAXED);
    }
}

/* With the mutex held. */
static HCS_SELDOM void join(void) {
    int saved_errno = errno, cancel_state;
    struct timespec now;
    /* Opening a file is a cancellation point, where the application does not expect one. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    struct hcs_ledger *joined =
        forks_watched ? hcs_ledger_open(hcs_config(), now_ns, &slot) : NULL;
    if (joined != NULL) {
        hcs_overhead_begin(joined, slot);
    }
    __atomic_store_n(&ledger, joined, __ATOMIC_RELEASE);
    __atomic_store_n(&useless, joined == NULL, __ATOMIC_RELAXED);
    if (joined != NULL) {
        hcs_report_start();
    }
    pthread_setcancelstate(cancel_state, NULL);
    errno = saved_errno;
}

static HCS_SELDOM struct hcs_ledger *joined_ledger(void) {
    watch_forks();
    pthread_mutex_lock(&mutex);
    if (ledger == NULL && !useless) {
        join();
    }
    struct hcs_ledger *own = ledger;
    pthread_mutex_unlock(&mutex);
    return own;
}

/* The ledger, joined with the first hooked call; NULL: nothing is enforced. */
static inline struct hcs_ledger *own_ledger(void) {
    struct hcs_ledger *own = __atomic_load_n(&ledger, __ATOMIC_ACQUIRE);
    if (own != NULL || __atomic_load_n(&useless, __ATOMIC_RELAXED) || !hcs_config()->enforced) {
        return own;
    }
    return joined_ledger();
}

/* The ledger, if it keeps an account of this card. */
static struct hcs_ledger *ledger_of(int card) {
    struct hcs_ledger *own = own_ledger();
    return own != NULL && (unsigned)card < own->device_count ? own : NULL;
}

/* What this process takes from now on goes past its account: let nobody think otherwise. */
void hcs_found_no_card(void) {
    if ((where & MISSED) != 0 && hcs_config()->enforced &&
        !__atomic_exchange_n(&blind, true, __ATOMIC_RELAXED)) {
        hcs_debug("no_enforcement", "nobody can tell which of the cards is meant");
        hcs_report_cease();
    }
}

/* The first time, without an account of the card, or when it does not fit at first sight. */
static HCS_SELDOM hcs_charge reserve_after_all(int card, unsigned context, uint64_t bytes) {
    if (card < 0) {
        hcs_found_no_card(); /* before a first call says hello */
    }
    struct hcs_ledger *own = ledger_of(card);
    if (own == NULL) {
        return HCS_UNENFORCED;
    }
    bool granted = hcs_ledger_reserve(own, slot, (unsigned)card, bytes);
    hcs_report_changed();
    return granted ? hcs_block_of(bytes, (unsigned)card, context) : HCS_REFUSED;
}

HCS_IN_ONE_PIECE hcs_charge hcs_reserve_in(int card, unsigned context, uint64_t bytes) {
    struct hcs_ledger *own = __atomic_load_n(&ledger, __ATOMIC_ACQUIRE);
    if (own == NULL || (unsigned)card >= own->device_count ||
        !hcs_ledger_reserve_at_once(own, slot, (unsigned)card, bytes)) {
        return reserve_after_all(card, context, bytes);
    }
    hcs_report_changed();
    return hcs_block_of(bytes, (unsigned)card, context);
}

static void release(unsigned device, uint64_t bytes) {
    struct hcs_ledger *own = __atomic_load_n(&ledger, __ATOMIC_ACQUIRE);
    if (own != NULL) {
        hcs_ledger_release(own, slot, device, bytes);
        hcs_report_changed();
    }
}

HCS_IN_ONE_PIECE void hcs_give_back(hcs_charge charge) {
    release(hcs_block_device(charge), hcs_block_bytes(charge));
}

HCS_IN_ONE_PIECE void hcs_remember(hcs_charge charge, uint64_t address) {
    hcs_block replaced = hcs_blocks_put(address, charge);
    if (replaced != 0) {
        hcs_give_back(replaced);
    }
}

/* Before the process has an account it has no blocks either. */
HCS_IN_ONE_PIECE hcs_charge hcs_take(uint64_t address) { return hcs_blocks_take(address); }

void hcs_ended(int card, unsigned context) {
    struct hcs_ledger *own = __atomic_load_n(&ledger, __ATOMIC_ACQUIRE);
    if (own != NULL && card >= 0) {
        uint64_t bytes = hcs_blocks_take_all((unsigned)card, context);
        if (bytes > 0) {
            release((unsigned)card, bytes);
        }
        if (hcs_overhead_ended(own, slot, (unsigned)card)) {
            hcs_report_changed();
        }
    }
}

void hcs_show_quota(int card, uint64_t *free_bytes, uint64_t *total_bytes) {
    struct hcs_ledger *own = ledger_of(card);
    if (own == NULL) {
        return;
    }
    hcs_ledger_reclaim_now_and_then(own, slot);
    uint64_t quota_bytes = own->devices[card].quota_bytes;
    uint64_t used_bytes = hcs_ledger_used_bytes(own, (unsigned)card);
    uint64_t left_bytes = used_bytes < quota_bytes ? quota_bytes - used_bytes : 0;
    if (total_bytes != NULL && *total_bytes > quota_bytes) {
        *total_bytes = quota_bytes;
    }
    if (free_bytes != NULL && *free_bytes > left_bytes) {
        *free_bytes = left_bytes;
    }
}

struct hcs_ledger *hcs_account_ledger_of(int card) { return ledger_of(card); }

struct hcs_ledger *hcs_account_ledger(unsigned *own_slot) {
    struct hcs_ledger *own = __atomic_load_n(&ledger, __ATOMIC_ACQUIRE);
    *own_slot = slot;
    return own;
}
