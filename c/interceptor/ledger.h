/* The account of one container: what all its processes together hold of each card.
 *
 * One shared mapping (ledger_file.h). The truth are the slots, one per process: what that process
 * holds. `used_bytes` of a card is their sum, kept so that the common case is one comparison.
 * Both change under one robust mutex, in a few instructions without any call. Whoever is killed in
 * there leaves the mutex to the next one with EOWNERDEAD, who sums the living processes' slots
 * anew; so whatever a kill interrupts, at most the victim's own charge is ever wrong, and it is
 * dropped with its slot. Slots of dead processes are also dropped before any refusal, when a
 * process joins, and when the agent says that a neighbour ended.
 *
 * The kernel finds a dead owner by its thread id, and we find dead processes by pid: both mean
 * something only inside one pid namespace, so a ledger belongs to one (ledger_file.h).
 */
#ifndef HCS_LEDGER_H
#define HCS_LEDGER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "config.h"

#define HCS_LEDGER_MAGIC 0x314c44454c534348ull /* "HCSLEDL1"; a changed layout gets a new one */
#define HCS_LEDGER_SLOTS_MAX 1024 /* processes; beyond it a process runs unenforced */

struct hcs_ledger_slot {
    int32_t pid; /* 0: free */
    uint32_t reserved;
    uint64_t start_ticks;
    uint64_t charged_bytes[HCS_WIRE_DEVICES_MAX];
};

struct hcs_ledger_device {
    uint64_t quota_bytes;
    uint64_t used_bytes;
    uint64_t peak_bytes;
    uint64_t refusals;
};

struct hcs_ledger {
    uint64_t magic; /* written last: without it nothing else counts */
    uint64_t pid_namespace;
    uint64_t epoch_ns; /* when the numbers below began; renews the ledger's identity */
    uint64_t revision; /* grows with every change */
    pthread_mutex_t mutex;
    uint32_t device_count;
    uint32_t slots_used; /* slots at and above this index were never taken */
    struct hcs_ledger_device devices[HCS_WIRE_DEVICES_MAX];
    struct hcs_ledger_slot slots[HCS_LEDGER_SLOTS_MAX];
};

enum hcs_verdict {
    HCS_UNENFORCED, /* the ledger is of no use: let the call through, keep no account of it */
    HCS_GRANTED,
    HCS_REFUSED,
};

/* Prepare fresh memory. False: this C library has no robust shared mutexes. */
bool hcs_ledger_init(struct hcs_ledger *ledger, uint64_t pid_namespace, uint64_t now_ns);

/* Take a slot for the calling process. The quotas are those of the first process; when none of
 * those that knew them lives any more, `config`'s become valid. NULL: no slot, or no lock. */
struct hcs_ledger_slot *hcs_ledger_join(struct hcs_ledger *ledger, const struct hcs_config *config,
                                        uint64_t now_ns);

/* Charge bytes to a card before they are allocated. */
enum hcs_verdict hcs_ledger_reserve(struct hcs_ledger *ledger, struct hcs_ledger_slot *slot,
                                    unsigned device, uint64_t bytes);

/* Give bytes back that `slot` was charged. */
void hcs_ledger_release(struct hcs_ledger *ledger, struct hcs_ledger_slot *slot, unsigned device,
                        uint64_t bytes);

/* Drop the slots of dead processes; return how many. */
unsigned hcs_ledger_reclaim(struct hcs_ledger *ledger);

/* Copy the state of all cards at one moment; false: no lock. */
bool hcs_ledger_read(struct hcs_ledger *ledger, struct hcs_wire_usage *usage,
                     uint64_t quota_bytes[HCS_WIRE_DEVICES_MAX]);

#endif
