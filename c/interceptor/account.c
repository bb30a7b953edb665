/* See account.h. */
#define _GNU_SOURCE
#include "account.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "config.h"
#include "debug.h"
#include "ledger_file.h"
#include "report.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of joining */
static struct hcs_ledger *ledger; /* set last, with release; NULL: not joined, or no use */
static unsigned slot;
static bool useless; /* no ledger or no slot: do not try again */

static __thread unsigned depth __attribute__((tls_model("initial-exec")));

bool hcs_enter(void) {
    if (depth > 0) {
        return false;
    }
    depth = 1;
    return true;
}

void hcs_leave(void) { depth = 0; }

/* The child has an account of its own. The parent's mapping stays: the parent's other threads may
 * have been anywhere. */
static void after_fork_in_child(void) {
    ledger = NULL;
    depth = 0;
    pthread_mutex_init(&mutex, NULL);
    hcs_blocks_forget();
    hcs_report_forget();
}

/* With the mutex held. */
static void join(void) {
    static bool fork_watched;
    int saved_errno = errno;
    struct timespec now;
    fork_watched = fork_watched || pthread_atfork(NULL, NULL, after_fork_in_child) == 0;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    struct hcs_ledger *joined =
        fork_watched ? hcs_ledger_open(hcs_config(), now_ns, &slot) : NULL;
    __atomic_store_n(&ledger, joined, __ATOMIC_RELEASE);
    __atomic_store_n(&useless, joined == NULL, __ATOMIC_RELAXED);
    if (joined != NULL) {
        hcs_report_start();
    }
    errno = saved_errno;
}

/* The ledger, joined with the first hooked call; NULL: nothing is enforced. */
static struct hcs_ledger *own_ledger(void) {
    struct hcs_ledger *own = __atomic_load_n(&ledger, __ATOMIC_ACQUIRE);
    if (own != NULL || __atomic_load_n(&useless, __ATOMIC_RELAXED) || !hcs_config()->enforced) {
        return own;
    }
    pthread_mutex_lock(&mutex);
    if (ledger == NULL && !useless) {
        join();
    }
    own = ledger;
    pthread_mutex_unlock(&mutex);
    return own;
}

/* The ledger, if it keeps an account of this card. */
static struct hcs_ledger *ledger_of(int card) {
    struct hcs_ledger *own = own_ledger();
    return own != NULL && card >= 0 && (unsigned)card < own->device_count ? own : NULL;
}

struct hcs_charge hcs_reserve(int card, uint64_t bytes) {
    struct hcs_charge charge = {HCS_UNENFORCED, {bytes, (unsigned)card, 0}};
    struct hcs_ledger *own = ledger_of(card);
    if (own != NULL) {
        bool granted = hcs_ledger_reserve(own, slot, (unsigned)card, bytes);
        charge.verdict = granted ? HCS_GRANTED : HCS_REFUSED;
        hcs_report_changed();
    }
    return charge;
}

static void give_back(unsigned device, uint64_t bytes) {
    struct hcs_ledger *own = __atomic_load_n(&ledger, __ATOMIC_ACQUIRE);
    if (own != NULL) {
        hcs_ledger_release(own, slot, device, bytes);
        hcs_report_changed();
    }
}

static void remember(struct hcs_block block, uint64_t address) {
    struct hcs_block old;
    enum hcs_remembered remembered = hcs_blocks_put(address, block, &old);
    if (remembered == HCS_REPLACED) {
        give_back(old.device, old.bytes);
    } else if (remembered == HCS_NO_MEMORY) {
        /* The host is out of memory. The charge stays until the process ends. */
        hcs_debug("charge_kept", "no memory to remember an address");
    }
}

void hcs_settle(const struct hcs_charge *charge, uint64_t address) {
    if (charge->verdict != HCS_GRANTED) {
        return;
    }
    if (address != 0) {
        remember(charge->block, address);
    } else {
        give_back(charge->block.device, charge->block.bytes);
    }
}

struct hcs_charge hcs_take(uint64_t address) {
    struct hcs_charge charge = {HCS_UNENFORCED, {0, 0, 0}};
    if (__atomic_load_n(&ledger, __ATOMIC_ACQUIRE) != NULL &&
        hcs_blocks_take(address, &charge.block)) {
        charge.verdict = HCS_GRANTED;
    }
    return charge;
}

void hcs_ended(int card, unsigned context) {
    if (__atomic_load_n(&ledger, __ATOMIC_ACQUIRE) != NULL && card >= 0) {
        uint64_t bytes = hcs_blocks_take_all((unsigned)card, context);
        if (bytes > 0) {
            give_back((unsigned)card, bytes);
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

struct hcs_ledger *hcs_account_ledger(unsigned *own_slot) {
    struct hcs_ledger *own = __atomic_load_n(&ledger, __ATOMIC_ACQUIRE);
    *own_slot = slot;
    return own;
}
