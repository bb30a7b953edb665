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
#include "table.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of everything below */
static struct hcs_table table;
static struct hcs_ledger *ledger; /* mapped once, kept across fork */
static struct hcs_ledger_slot *slot; /* this process's; set last, read without the mutex */
static bool useless; /* no ledger, no slot or no lock: do not try again */

static __thread unsigned depth __attribute__((tls_model("initial-exec")));

bool hcs_enter(void) {
    if (depth > 0) {
        return false;
    }
    depth = 1;
    return true;
}

void hcs_leave(void) { depth = 0; }

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Fork copies the mutex as it is, so nobody may hold it at that moment. */
static void before_fork(void) { pthread_mutex_lock(&mutex); }
static void after_fork_in_parent(void) { pthread_mutex_unlock(&mutex); }
static void after_fork_in_child(void) {
    hcs_table_clear(&table);
    slot = NULL;
    depth = 0;
    pthread_mutex_init(&mutex, NULL);
    hcs_report_forget();
}

/* With the mutex held. */
static void join(void) {
    static bool fork_watched;
    int saved_errno = errno;
    ledger = ledger != NULL ? ledger : hcs_ledger_map(hcs_config(), now_ns());
    struct hcs_ledger_slot *joined =
        ledger != NULL ? hcs_ledger_join(ledger, hcs_config(), now_ns()) : NULL;
    if (!fork_watched) {
        fork_watched =
            pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;
    }
    if (joined == NULL || !fork_watched) {
        __atomic_store_n(&useless, true, __ATOMIC_RELAXED);
        if (ledger != NULL) {
            hcs_debug("no_enforcement", "the ledger's lock could not be had, or no slot is free");
        }
    } else {
        __atomic_store_n(&slot, joined, __ATOMIC_RELEASE);
        hcs_report_start();
    }
    errno = saved_errno;
}

/* The process's slot, taken with its first hooked call; NULL: nothing is enforced. */
static struct hcs_ledger_slot *own_slot(void) {
    struct hcs_ledger_slot *own = __atomic_load_n(&slot, __ATOMIC_ACQUIRE);
    if (own != NULL || __atomic_load_n(&useless, __ATOMIC_RELAXED) || !hcs_config()->enforced) {
        return own;
    }
    pthread_mutex_lock(&mutex);
    if (slot == NULL && !useless) {
        join();
    }
    own = slot;
    pthread_mutex_unlock(&mutex);
    return own;
}

/* The lock could not be had in seconds: go on without us rather than wait before every call. */
static void give_up(void) {
    hcs_debug("no_enforcement", "the ledger's lock could not be had");
    __atomic_store_n(&useless, true, __ATOMIC_RELAXED);
    __atomic_store_n(&slot, NULL, __ATOMIC_RELEASE);
}

struct hcs_charge hcs_reserve(int device, uint64_t bytes) {
    struct hcs_charge charge = {HCS_UNENFORCED, (unsigned)device, bytes};
    struct hcs_ledger_slot *own = own_slot();
    if (own == NULL || device < 0 || (unsigned)device >= ledger->device_count) {
        return charge;
    }
    charge.verdict = hcs_ledger_reserve(ledger, own, charge.device, bytes);
    if (charge.verdict == HCS_UNENFORCED) {
        give_up();
    } else {
        hcs_report_changed();
    }
    return charge;
}

static void give_back(const struct hcs_charge *charge) {
    struct hcs_ledger_slot *own = __atomic_load_n(&slot, __ATOMIC_ACQUIRE);
    if (own != NULL) {
        hcs_ledger_release(ledger, own, charge->device, charge->bytes);
        hcs_report_changed();
    }
}

static void remember(const struct hcs_charge *charge, uint64_t address) {
    pthread_mutex_lock(&mutex);
    bool kept = hcs_table_insert(&table, address, charge->device, charge->bytes);
    pthread_mutex_unlock(&mutex);
    if (!kept) {
        /* The host is out of memory. The charge stays until the process ends. */
        hcs_debug("charge_kept", "no memory to remember an address");
    }
}

void hcs_settle(const struct hcs_charge *charge, uint64_t address) {
    if (charge->verdict != HCS_GRANTED) {
        return;
    }
    if (address != 0) {
        remember(charge, address);
    } else {
        give_back(charge);
    }
}

struct hcs_charge hcs_take(uint64_t address) {
    struct hcs_charge charge = {HCS_UNENFORCED, 0, 0};
    if (__atomic_load_n(&slot, __ATOMIC_ACQUIRE) == NULL) {
        return charge;
    }
    pthread_mutex_lock(&mutex);
    if (hcs_table_remove(&table, address, &charge.device, &charge.bytes)) {
        charge.verdict = HCS_GRANTED;
    }
    pthread_mutex_unlock(&mutex);
    return charge;
}

void hcs_finish_free(const struct hcs_charge *charge, uint64_t address, bool freed) {
    hcs_settle(charge, freed ? 0 : address);
}

void hcs_show_quota(int device, size_t *free_bytes, size_t *total_bytes) {
    if (own_slot() == NULL || device < 0 || (unsigned)device >= ledger->device_count) {
        return;
    }
    /* Read without the lock: two words that are each right, for a number that is old anyway. */
    const struct hcs_ledger_device *account = &ledger->devices[device];
    uint64_t quota_bytes = __atomic_load_n(&account->quota_bytes, __ATOMIC_RELAXED);
    uint64_t used_bytes = __atomic_load_n(&account->used_bytes, __ATOMIC_RELAXED);
    uint64_t left_bytes = used_bytes < quota_bytes ? quota_bytes - used_bytes : 0;
    if (total_bytes != NULL && *total_bytes > quota_bytes) {
        *total_bytes = quota_bytes;
    }
    if (free_bytes != NULL && *free_bytes > left_bytes) {
        *free_bytes = left_bytes;
    }
}

struct hcs_ledger *hcs_account_ledger(void) {
    return __atomic_load_n(&slot, __ATOMIC_ACQUIRE) != NULL ? ledger : NULL;
}
