/* See ledger.h. Every access to the mapping is atomic and in one order for all (SEQ_CST): the
 * argument there needs it between announcing and looking. */
#define _GNU_SOURCE
#include "ledger.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "process.h"
#include "seldom.h"

/* A neighbour decides in less than a microsecond, or in a time slice when it is preempted. One that
 * is stopped in the middle of it must not keep us for ever: then the answer is "refused". */
#define TRIES_MAX 5000
#define TRIES_SPINNING 8        /* later ones sleep */
#define TRIES_BEFORE_LOOKING 32 /* for the dead, who never decide */
#define TRIES_IMPOSING 64       /* to find what all hold together; then the quota must do */
#define SLEEP_NS 50000
#define LOOK_INTERVAL_NS 100000000u

static uint64_t get(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_SEQ_CST); }
static void set(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_SEQ_CST); }
static void add(uint64_t *word, uint64_t value) {
    __atomic_fetch_add(word, value, __ATOMIC_SEQ_CST);
}
static void subtract(uint64_t *word, uint64_t value) {
    __atomic_fetch_sub(word, value, __ATOMIC_SEQ_CST);
}
static bool exchange(uint64_t *word, uint64_t expected, uint64_t value) {
    return __atomic_compare_exchange_n(word, &expected, value, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

/* Never more than there are, whatever somebody wrote into the mapping. */
static unsigned slots_used(const struct hcs_ledger *ledger) {
    uint32_t used = __atomic_load_n(&ledger->slots_used, __ATOMIC_SEQ_CST);
    return used < HCS_LEDGER_SLOTS_MAX ? used : HCS_LEDGER_SLOTS_MAX;
}

static unsigned device_count(const struct hcs_ledger *ledger) {
    return ledger->device_count < HCS_WIRE_DEVICES_MAX ? ledger->device_count
                                                       : HCS_WIRE_DEVICES_MAX;
}

static uint64_t held_bytes(const struct hcs_ledger_device *account, unsigned slots) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < slots; i++) {
        bytes += get(&account->charges[i].held_bytes);
    }
    return bytes;
}

/* Pending first: a charge moves from there to held. There is at least one slot, our own. */
static uint64_t all_bytes(const struct hcs_ledger_device *account, unsigned slots) {
    uint64_t bytes = 0;
    unsigned i = 0;
    do {
        bytes += get(&account->charges[i].pending_bytes);
        bytes += get(&account->charges[i].held_bytes);
    } while (++i < slots);
    return bytes;
}

static void empty(struct hcs_ledger *ledger, unsigned slot) {
    for (unsigned device = 0; device < device_count(ledger); device++) {
        struct hcs_ledger_charge *charge = &ledger->devices[device].charges[slot];
        if (get(&charge->pending_bytes) != 0 || get(&charge->held_bytes) != 0) {
            set(&charge->pending_bytes, 0);
            set(&charge->held_bytes, 0);
        }
    }
}

/* Who empties a slot owns it meanwhile: no other does the same at the same time, nobody joins it,
 * and if we are killed in there, it is a dead process's slot again. (Stopped in there, we keep its
 * bytes from the others until we go on.) */
static unsigned drop_dead(struct hcs_ledger *ledger, uint64_t self) {
    unsigned dropped = 0;
    for (unsigned slot = 0; slot < slots_used(ledger); slot++) {
        uint64_t owner = get(&ledger->owners[slot]);
        if (owner != 0 && owner != self && !hcs_process_lives(owner) &&
            exchange(&ledger->owners[slot], owner, self)) {
            empty(ledger, slot);
            set(&ledger->owners[slot], 0);
            dropped++;
        }
    }
    return dropped;
}

unsigned hcs_ledger_reclaim(struct hcs_ledger *ledger, unsigned slot) {
    return drop_dead(ledger, get(&ledger->owners[slot]));
}

static uint64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool time_to_look(struct hcs_ledger *ledger) {
    uint64_t now_ns = monotonic_ns();
    uint64_t looked_at_ns = get(&ledger->looked_at_ns);
    return now_ns - looked_at_ns >= LOOK_INTERVAL_NS &&
           exchange(&ledger->looked_at_ns, looked_at_ns, now_ns);
}

void hcs_ledger_reclaim_now_and_then(struct hcs_ledger *ledger, unsigned slot) {
    if (time_to_look(ledger)) {
        hcs_ledger_reclaim(ledger, slot);
    }
}

void hcs_ledger_init(struct hcs_ledger *ledger, const struct hcs_config *config,
                     uint64_t pid_namespace, uint64_t now_ns) {
    for (unsigned i = 0; i < config->device_count; i++) {
        ledger->devices[i].quota_bytes = config->quota_bytes[i];
    }
    ledger->device_count = config->device_count;
    ledger->pid_namespace = pid_namespace;
    ledger->epoch_ns = now_ns;
    ledger->looked_at_ns = monotonic_ns();
    ledger->magic = HCS_LEDGER_MAGIC;
}

bool hcs_ledger_has_quotas_of(const struct hcs_ledger *ledger, const struct hcs_config *config) {
    bool same = ledger->device_count == config->device_count;
    for (unsigned i = 0; same && i < config->device_count; i++) {
        same = ledger->devices[i].quota_bytes == config->quota_bytes[i];
    }
    return same;
}

static bool in_use(const struct hcs_ledger *ledger, uint64_t self) {
    for (unsigned slot = 0; slot < slots_used(ledger); slot++) {
        uint64_t owner = get(&ledger->owners[slot]);
        if (owner != 0 && owner != self) {
            return true;
        }
    }
    return false;
}

/* Whether somebody else, who lives, is about to remove it. */
static bool closing(struct hcs_ledger *ledger, uint64_t self) {
    uint64_t closer;
    while ((closer = get(&ledger->closer)) != 0) {
        if (closer != self && hcs_process_lives(closer)) {
            return true;
        }
        exchange(&ledger->closer, closer, 0);
    }
    return false;
}

bool hcs_ledger_close(struct hcs_ledger *ledger, uint64_t self) {
    if (closing(ledger, self) || !exchange(&ledger->closer, 0, self)) {
        return false;
    }
    drop_dead(ledger, self);
    bool closed = !in_use(ledger, self);
    if (!closed) {
        exchange(&ledger->closer, self, 0);
    }
    return closed;
}

static void use_slots(struct hcs_ledger *ledger, uint32_t slots) {
    uint32_t used = __atomic_load_n(&ledger->slots_used, __ATOMIC_SEQ_CST);
    while (used < slots &&
           !__atomic_compare_exchange_n(&ledger->slots_used, &used, slots, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
}

/* A free slot has no charges: who frees one empties it before. */
static int take_slot(struct hcs_ledger *ledger, uint64_t self) {
    unsigned slots = slots_used(ledger);
    for (unsigned slot = 0; slot < slots; slot++) {
        if (get(&ledger->owners[slot]) == self) {
            empty(ledger, slot); /* it was the program's that we were before an exec */
            return (int)slot;
        }
    }
    for (unsigned slot = 0; slot < HCS_LEDGER_SLOTS_MAX; slot++) {
        if (get(&ledger->owners[slot]) == 0 && exchange(&ledger->owners[slot], 0, self)) {
            use_slots(ledger, slot + 1);
            return (int)slot;
        }
    }
    return HCS_LEDGER_FULL;
}

int hcs_ledger_join(struct hcs_ledger *ledger, uint64_t self) {
    if (slots_used(ledger) == HCS_LEDGER_SLOTS_MAX || time_to_look(ledger)) {
        drop_dead(ledger, self);
    }
    int slot = take_slot(ledger, self);
    if (slot >= 0 && closing(ledger, self)) {
        hcs_ledger_leave(ledger, (unsigned)slot);
        return HCS_LEDGER_CLOSING;
    }
    return slot;
}

void hcs_ledger_leave(struct hcs_ledger *ledger, unsigned slot) {
    set(&ledger->owners[slot], 0);
}

static void note_peak(struct hcs_ledger_device *account, uint64_t bytes) {
    uint64_t peak = get(&account->peak_bytes);
    while (bytes > peak && !exchange(&account->peak_bytes, peak, bytes)) {
        peak = get(&account->peak_bytes);
    }
}

static uint64_t highest_bytes[HCS_WIRE_DEVICES_MAX]; /* of this process's slot */

/* (Nothing is called here: see seldom.h.) */
static inline void note_highest(unsigned device, uint64_t held) {
    uint64_t *highest = highest_bytes + device, before = get(highest);
    while (__builtin_expect(held > before, 0) && !exchange(highest, before, held)) {
        before = get(highest);
    }
}

bool hcs_ledger_reserve_at_once(struct hcs_ledger *ledger, unsigned slot, unsigned device,
                                uint64_t bytes) {
    struct hcs_ledger_device *account = ledger->devices + device;
    if (bytes > HCS_LEDGER_BYTES_MAX || bytes > account->quota_bytes) {
        return false;
    }
    struct hcs_ledger_charge *own = account->charges + slot;
    add(&own->pending_bytes, bytes);
    /* The number of slots is read after announcing: who joins later will see what we announced. */
    uint64_t wanted_bytes = all_bytes(account, slots_used(ledger));
    bool granted = wanted_bytes <= account->quota_bytes;
    if (granted) {
        note_peak(account, wanted_bytes);
        add(&account->grants, 1);
        add(&own->held_bytes, bytes);
        note_highest(device, get(&own->held_bytes));
    }
    subtract(&own->pending_bytes, bytes);
    return granted;
}

/* Add up what is held; false: something was granted meanwhile, so it may be more than ever was. */
static bool add_up(const struct hcs_ledger *ledger, const struct hcs_ledger_device *account,
                   uint64_t *bytes) {
    uint64_t grants = get(&account->grants);
    *bytes = held_bytes(account, slots_used(ledger));
    return get(&account->grants) == grants;
}

/* Whether there was, at one moment, no room beside what is held. */
static bool no_room(const struct hcs_ledger *ledger, const struct hcs_ledger_device *account,
                    uint64_t bytes) {
    uint64_t held;
    bool at_once = add_up(ledger, account, &held);
    return held + bytes > account->quota_bytes && at_once;
}

/* A random while, longer with each try: two that were in each other's way are not again. */
static void wait_a_little(unsigned tries) {
    static __thread uint32_t random __attribute__((tls_model("initial-exec")));
    if (tries >= TRIES_SPINNING) {
        int cancel_state, saved_errno = errno;
        struct timespec pause = {0, SLEEP_NS};
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state); /* sleeping is a point */
        nanosleep(&pause, NULL);
        pthread_setcancelstate(cancel_state, NULL);
        errno = saved_errno;
        return;
    }
    random = random != 0 ? random : (uint32_t)((uintptr_t)&random >> 4);
    random = random * 1664525u + 1013904223u;
    for (unsigned spins = (random >> 8) % (32u << tries); spins > 0; spins--) {
        __asm__ volatile("" ::: "memory");
    }
}

/* It did not fit at first sight. */
static HCS_SELDOM bool reserve_after_all(struct hcs_ledger *ledger, unsigned slot, unsigned device,
                                         uint64_t bytes) {
    for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
        bool full = no_room(ledger, &ledger->devices[device], bytes);
        bool look = full || tries % TRIES_BEFORE_LOOKING == TRIES_BEFORE_LOOKING - 1;
        bool found = look && hcs_ledger_reclaim(ledger, slot) > 0;
        if (full && !found) {
            return false;
        }
        if (!found) {
            wait_a_little(tries);
        }
        if (hcs_ledger_reserve_at_once(ledger, slot, device, bytes)) {
            return true;
        }
    }
    return false;
}

bool hcs_ledger_reserve(struct hcs_ledger *ledger, unsigned slot, unsigned device, uint64_t bytes) {
    struct hcs_ledger_device *account = ledger->devices + device;
    bool possible = bytes <= HCS_LEDGER_BYTES_MAX && bytes <= account->quota_bytes;
    if (possible && (hcs_ledger_reserve_at_once(ledger, slot, device, bytes) ||
                     reserve_after_all(ledger, slot, device, bytes))) {
        return true;
    }
    add(&account->refusals, 1);
    return false;
}

void hcs_ledger_release(struct hcs_ledger *ledger, unsigned slot, unsigned device, uint64_t bytes) {
    subtract(&ledger->devices[device].charges[slot].held_bytes, bytes);
}

void hcs_ledger_impose(struct hcs_ledger *ledger, unsigned slot, unsigned device, uint64_t bytes) {
    struct hcs_ledger_device *account = ledger->devices + device;
    uint64_t used_bytes;
    add(&account->grants, 1);
    add(&account->charges[slot].held_bytes, bytes);
    bool at_once = add_up(ledger, account, &used_bytes);
    for (unsigned tries = 0; tries < TRIES_IMPOSING && !at_once; tries++) {
        wait_a_little(tries);
        at_once = add_up(ledger, account, &used_bytes);
    }
    if (!at_once && used_bytes > account->quota_bytes) {
        used_bytes = account->quota_bytes;
    }
    note_peak(account, used_bytes);
}

uint64_t hcs_ledger_highest_bytes(unsigned device) { return get(highest_bytes + device); }

/* The order matters: what is held and was noted before we forget is there when we look, unless it
 * was released by then; what is noted after that raises it anew. */
void hcs_ledger_forget_highest(const struct hcs_ledger *ledger, unsigned slot, unsigned device) {
    set(highest_bytes + device, 0);
    note_highest(device, get(&ledger->devices[device].charges[slot].held_bytes));
}

uint64_t hcs_ledger_used_bytes(const struct hcs_ledger *ledger, unsigned device) {
    return held_bytes(&ledger->devices[device], slots_used(ledger));
}

/* Set bits of a word of the timeline; return how many of them count. A word of the past whose place
 * a later one has taken says nothing any more: all of it counts. */
static unsigned set_bits(uint64_t *word, uint32_t number, uint32_t bits) {
    uint64_t before = get(word);
    for (;;) {
        int32_t ahead = (int32_t)(number - (uint32_t)(before >> 32));
        uint32_t known = ahead == 0 ? (uint32_t)before : 0;
        uint64_t after = (uint64_t)number << 32 | known | bits;
        if (ahead < 0 || exchange(word, before, after)) {
            return (unsigned)__builtin_popcount(bits & ~known);
        }
        before = get(word);
    }
}

/* Mark the quanta from `first` up to, but not with, `end`; return how many were not yet. */
static uint64_t mark(struct hcs_ledger_work *work, uint64_t first, uint64_t end) {
    const uint64_t quanta_max = 32u * (HCS_LEDGER_TIMELINE_WORDS - 1);
    uint64_t counted = end - first > quanta_max ? end - first - quanta_max : 0;
    for (first += counted; first < end; first = (first | 31) + 1) {
        uint64_t word_end = (first | 31) + 1;
        uint32_t bits = UINT32_MAX << (first & 31);
        bits &= end < word_end ? ~(UINT32_MAX << (end & 31)) : UINT32_MAX;
        uint64_t number = first >> 5;
        counted += set_bits(&work->timeline[number % HCS_LEDGER_TIMELINE_WORDS], (uint32_t)number,
                            bits);
    }
    return counted;
}

/* To the nearest: what is left of one measurement is in the next one, or evens out over many. */
static uint64_t quantum_at(uint64_t at_ns) {
    return (at_ns + (UINT64_C(1) << (HCS_LEDGER_QUANTUM_SHIFT - 1))) >> HCS_LEDGER_QUANTUM_SHIFT;
}

void hcs_ledger_worked(struct hcs_ledger *ledger, unsigned device, unsigned percent,
                       uint64_t from_ns, uint64_t until_ns) {
    struct hcs_ledger_work *work = &ledger->devices[device].work;
    uint64_t first = quantum_at(from_ns), end = quantum_at(until_ns);
    uint64_t quanta = first < end ? mark(work, first, end) : 0;
    if (quanta == 0) {
        return;
    }
    uint64_t cost_ns = (quanta << HCS_LEDGER_QUANTUM_SHIFT) / percent * 100;
    uint64_t earliest_ns = until_ns - HCS_LEDGER_CREDIT_NS;
    uint64_t latest_ns = until_ns + HCS_LEDGER_DEBT_NS_MAX;
    add(&work->busy_quanta, quanta);
    for (;;) {
        uint64_t before_ns = get(&work->paid_until_ns);
        bool believed = before_ns > earliest_ns && before_ns <= latest_ns;
        uint64_t after_ns = (believed ? before_ns : earliest_ns) + cost_ns;
        after_ns = after_ns < latest_ns ? after_ns : latest_ns;
        if (exchange(&work->paid_until_ns, before_ns, after_ns)) {
            return;
        }
    }
}

uint64_t hcs_ledger_debt_ns(const struct hcs_ledger *ledger, unsigned device, uint64_t now_ns) {
    uint64_t paid_until_ns = get(&ledger->devices[device].work.paid_until_ns);
    bool in_debt = paid_until_ns > now_ns && paid_until_ns - now_ns <= HCS_LEDGER_DEBT_NS_MAX;
    return in_debt ? paid_until_ns - now_ns : 0;
}

void hcs_ledger_read(const struct hcs_ledger *ledger, struct hcs_wire_usage *usage,
                     uint64_t quota_bytes[HCS_WIRE_DEVICES_MAX]) {
    usage->device_count = ledger->device_count;
    usage->revision = monotonic_ns();
    for (unsigned i = 0; i < device_count(ledger); i++) {
        const struct hcs_ledger_device *device = &ledger->devices[i];
        usage->devices[i] = (struct hcs_wire_device_usage){
            hcs_ledger_used_bytes(ledger, i), get(&device->peak_bytes), get(&device->refusals)};
        quota_bytes[i] = device->quota_bytes;
    }
}
