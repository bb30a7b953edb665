/* See overhead.h. */
#define _GNU_SOURCE
#include "overhead.h"

#include <string.h>
#include <time.h>

#include "lock.h"

#define WORDS 3 /* that count: at the agent's pace those of half a minute */

struct card {
    uint64_t since_ns; /* the span's begin, on the monotonic clock */
    uint64_t charged_bytes;
    uint64_t found_bytes[WORDS];
    unsigned words; /* heard */
};

static struct hcs_lock lock; /* of these */
static struct card cards[HCS_WIRE_DEVICES_MAX];
static bool kept;

static uint64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void begin_span(const struct hcs_ledger *ledger, unsigned slot, unsigned device) {
    hcs_ledger_forget_highest(ledger, slot, device);
    cards[device].since_ns = monotonic_ns();
}

static bool charge(struct hcs_ledger *ledger, unsigned slot, unsigned device, uint64_t bytes) {
    uint64_t before = cards[device].charged_bytes;
    cards[device].charged_bytes = bytes;
    if (bytes > before) {
        hcs_ledger_impose(ledger, slot, device, bytes - before);
    } else if (bytes < before) {
        hcs_ledger_release(ledger, slot, device, before - bytes);
    }
    return bytes != before;
}

static uint64_t highest_found(const struct card *card) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < WORDS; i++) {
        bytes = card->found_bytes[i] > bytes ? card->found_bytes[i] : bytes;
    }
    return bytes;
}

static void forget_found(struct card *card) {
    memset(card->found_bytes, 0, sizeof card->found_bytes);
}

/* With the lock held. */
static bool heed_card(struct hcs_ledger *ledger, unsigned slot, unsigned device,
                      uint64_t driver_bytes) {
    struct card *card = &cards[device];
    uint64_t explained_bytes = hcs_ledger_highest_bytes(device) - card->charged_bytes;
    bool more = driver_bytes > explained_bytes;
    card->found_bytes[card->words++ % WORDS] = more ? driver_bytes - explained_bytes : 0;
    if (driver_bytes == 0) { /* we are not on the card */
        forget_found(card);
    }
    bool changed = charge(ledger, slot, device, highest_found(card));
    begin_span(ledger, slot, device);
    return changed;
}

void hcs_overhead_begin(const struct hcs_ledger *ledger, unsigned slot) {
    for (unsigned device = 0; device < HCS_WIRE_DEVICES_MAX; device++) {
        begin_span(ledger, slot, device);
    }
}

bool hcs_overhead_heed(struct hcs_ledger *ledger, unsigned slot,
                       const struct hcs_wire_driver *word) {
    bool changed = false;
    if (word->device_count != ledger->device_count || word->device_count > HCS_WIRE_DEVICES_MAX ||
        word->looked_at_ns > monotonic_ns() || __atomic_load_n(&kept, __ATOMIC_SEQ_CST)) {
        return false;
    }
    hcs_lock(&lock);
    for (unsigned device = 0; device < word->device_count; device++) {
        bool told = word->used_bytes[device] <= HCS_LEDGER_BYTES_MAX;
        if (told && word->looked_at_ns > cards[device].since_ns) {
            changed |= heed_card(ledger, slot, device, word->used_bytes[device]);
        }
    }
    hcs_unlock(&lock);
    return changed;
}

bool hcs_overhead_ended(struct hcs_ledger *ledger, unsigned slot, unsigned device) {
    if (device >= HCS_WIRE_DEVICES_MAX) {
        return false;
    }
    hcs_lock(&lock);
    forget_found(&cards[device]);
    bool changed = charge(ledger, slot, device, 0);
    begin_span(ledger, slot, device);
    hcs_unlock(&lock);
    return changed;
}

void hcs_overhead_keep(void) { __atomic_store_n(&kept, true, __ATOMIC_SEQ_CST); }

void hcs_overhead_forget(void) {
    memset(&lock, 0, sizeof lock);
    memset(cards, 0, sizeof cards);
    kept = false;
}
