/* See ledger.h. */
#define _GNU_SOURCE
#include "ledger.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "process.h"

/* Longer than any honest owner takes (a reclaim over all slots: some 10 ms). A stopped owner, or a
 * mapping that somebody wrote over, must not stop the application: then it runs unenforced. */
#define LOCK_WAIT_S 5

bool hcs_ledger_init(struct hcs_ledger *ledger, uint64_t pid_namespace, uint64_t now_ns) {
    pthread_mutexattr_t attributes;
    bool prepared = pthread_mutexattr_init(&attributes) == 0 &&
                    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0 &&
                    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0 &&
                    pthread_mutex_init(&ledger->mutex, &attributes) == 0;
    ledger->pid_namespace = pid_namespace;
    ledger->epoch_ns = now_ns;
    if (prepared) {
        __atomic_store_n(&ledger->magic, HCS_LEDGER_MAGIC, __ATOMIC_RELEASE);
    }
    return prepared;
}

static void sum_slots(struct hcs_ledger *ledger) {
    for (unsigned device = 0; device < HCS_WIRE_DEVICES_MAX; device++) {
        uint64_t used_bytes = 0;
        for (unsigned i = 0; i < ledger->slots_used; i++) {
            used_bytes += ledger->slots[i].charged_bytes[device];
        }
        ledger->devices[device].used_bytes = used_bytes;
    }
    ledger->revision++;
}

/* With the lock held. The slot is emptied before it is free: a kill in between leaves a slot of a
 * dead process with less in it, never a free one that is charged. */
static unsigned drop_dead(struct hcs_ledger *ledger) {
    int cancel_state;
    int saved_errno = errno;
    unsigned dropped = 0;
    /* Reading /proc is a cancellation point; a thread must not end with the lock held. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    for (unsigned i = 0; i < ledger->slots_used; i++) {
        struct hcs_ledger_slot *slot = &ledger->slots[i];
        if (slot->pid != 0 && !hcs_process_lives(slot->pid, slot->start_ticks)) {
            memset(slot->charged_bytes, 0, sizeof slot->charged_bytes);
            __atomic_store_n(&slot->pid, 0, __ATOMIC_RELEASE);
            dropped++;
        }
    }
    pthread_setcancelstate(cancel_state, NULL);
    errno = saved_errno;
    if (dropped > 0) {
        sum_slots(ledger);
    }
    return dropped;
}

static int wait_for_lock(struct hcs_ledger *ledger) {
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += LOCK_WAIT_S;
    return pthread_mutex_timedlock(&ledger->mutex, &deadline);
}

static bool lock(struct hcs_ledger *ledger) {
    int result = pthread_mutex_trylock(&ledger->mutex);
    if (result == EBUSY) {
        result = wait_for_lock(ledger);
    }
    if (result == EOWNERDEAD) {
        /* Consistent only when repaired: a kill before that makes the next owner start again. */
        drop_dead(ledger);
        sum_slots(ledger);
        result = pthread_mutex_consistent(&ledger->mutex);
    }
    return result == 0;
}

static void unlock(struct hcs_ledger *ledger) { pthread_mutex_unlock(&ledger->mutex); }

static bool in_use(const struct hcs_ledger *ledger) {
    for (unsigned i = 0; i < ledger->slots_used; i++) {
        if (ledger->slots[i].pid != 0) {
            return true;
        }
    }
    return false;
}

static bool same_quotas(const struct hcs_ledger *ledger, const struct hcs_config *config) {
    bool same = ledger->device_count == config->device_count;
    for (unsigned i = 0; same && i < config->device_count; i++) {
        same = ledger->devices[i].quota_bytes == config->quota_bytes[i];
    }
    return same;
}

static void begin_anew(struct hcs_ledger *ledger, const struct hcs_config *config,
                       uint64_t now_ns) {
    memset(ledger->devices, 0, sizeof ledger->devices);
    for (unsigned i = 0; i < config->device_count; i++) {
        ledger->devices[i].quota_bytes = config->quota_bytes[i];
    }
    ledger->device_count = config->device_count;
    ledger->epoch_ns = now_ns;
}

static struct hcs_ledger_slot *take_slot(struct hcs_ledger *ledger) {
    for (unsigned i = 0; i < HCS_LEDGER_SLOTS_MAX; i++) {
        struct hcs_ledger_slot *slot = &ledger->slots[i];
        if (slot->pid == 0) {
            memset(slot, 0, sizeof *slot);
            slot->start_ticks = hcs_process_start_ticks(getpid());
            slot->pid = getpid();
            ledger->slots_used = i < ledger->slots_used ? ledger->slots_used : i + 1;
            return slot;
        }
    }
    return NULL;
}

struct hcs_ledger_slot *hcs_ledger_join(struct hcs_ledger *ledger, const struct hcs_config *config,
                                        uint64_t now_ns) {
    if (!lock(ledger)) {
        return NULL;
    }
    drop_dead(ledger);
    if (!in_use(ledger) && !same_quotas(ledger, config)) {
        begin_anew(ledger, config, now_ns);
    }
    struct hcs_ledger_slot *slot = take_slot(ledger);
    unlock(ledger);
    return slot;
}

static bool fits(const struct hcs_ledger_device *device, uint64_t bytes) {
    return device->used_bytes <= device->quota_bytes &&
           bytes <= device->quota_bytes - device->used_bytes;
}

enum hcs_verdict hcs_ledger_reserve(struct hcs_ledger *ledger, struct hcs_ledger_slot *slot,
                                    unsigned device, uint64_t bytes) {
    if (!lock(ledger)) {
        return HCS_UNENFORCED;
    }
    struct hcs_ledger_device *account = &ledger->devices[device];
    bool granted = fits(account, bytes) || (drop_dead(ledger) > 0 && fits(account, bytes));
    if (granted) {
        slot->charged_bytes[device] += bytes;
        account->used_bytes += bytes;
        if (account->used_bytes > account->peak_bytes) {
            account->peak_bytes = account->used_bytes;
        }
    } else {
        account->refusals++;
    }
    ledger->revision++;
    unlock(ledger);
    return granted ? HCS_GRANTED : HCS_REFUSED;
}

void hcs_ledger_release(struct hcs_ledger *ledger, struct hcs_ledger_slot *slot, unsigned device,
                        uint64_t bytes) {
    if (!lock(ledger)) {
        return; /* the charge stays until the process ends: too much, never too little */
    }
    uint64_t charged_bytes = slot->charged_bytes[device];
    bytes = bytes < charged_bytes ? bytes : charged_bytes;
    slot->charged_bytes[device] -= bytes;
    ledger->devices[device].used_bytes -= bytes;
    ledger->revision++;
    unlock(ledger);
}

unsigned hcs_ledger_reclaim(struct hcs_ledger *ledger) {
    if (!lock(ledger)) {
        return 0;
    }
    unsigned dropped = drop_dead(ledger);
    unlock(ledger);
    return dropped;
}

bool hcs_ledger_read(struct hcs_ledger *ledger, struct hcs_wire_usage *usage,
                     uint64_t quota_bytes[HCS_WIRE_DEVICES_MAX]) {
    if (!lock(ledger)) {
        return false;
    }
    usage->epoch_ns = ledger->epoch_ns;
    usage->revision = ledger->revision;
    usage->device_count = ledger->device_count;
    for (unsigned i = 0; i < HCS_WIRE_DEVICES_MAX; i++) {
        const struct hcs_ledger_device *device = &ledger->devices[i];
        usage->devices[i] = (struct hcs_wire_device_usage){
            device->used_bytes, device->peak_bytes, device->refusals};
        quota_bytes[i] = device->quota_bytes;
    }
    unlock(ledger);
    return true;
}
