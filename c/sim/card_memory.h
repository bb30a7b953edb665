/* The node's cards as all processes share them: who holds how much memory, and how long each card
 * is still at work.
 *
 * Nothing is reserved; only sizes are kept, in a file beside the scenario ("<scenario>.memory")
 * that every process maps. It plays the driver's part: a card has its size for everybody together,
 * and what a dead process held is free again. Each card's highest total is kept, so that a test
 * can tell whether a quota was exceeded for even a moment. A card does one kernel after the other,
 * whoever launched them: it is known at a launch when it will be done. Kept apart from the
 * interceptor's ledger on purpose: one must be evidence against the other.
 */
#ifndef HCS_SIM_CARD_MEMORY_H
#define HCS_SIM_CARD_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "scenario.h"

#define HCS_SIM_MEMORY_MAGIC 0x34304d454d534348ull /* "HCSMEM04" */
#define HCS_SIM_PROCESSES_MAX 256 /* at the limit a process gets no memory */
#define HCS_SIM_CONTEXTS_MAX 64   /* of a process, where they take something */

struct hcs_sim_process_memory {
    uint64_t process; /* process.h's word; 0: free */
    uint64_t used_bytes[HCS_SIM_DEVICES_MAX];
};

struct hcs_sim_card_memory { /* the file; read by tests/support/interceptor.py */
    uint64_t magic;
    uint64_t peak_bytes[HCS_SIM_DEVICES_MAX];
    uint64_t busy_ns[HCS_SIM_DEVICES_MAX];       /* of all kernels, those still to come included */
    uint64_t busy_until_ns[HCS_SIM_DEVICES_MAX]; /* on the monotonic clock */
    uint64_t processes_used; /* those at and above this index were never taken */
    struct hcs_sim_process_memory processes[HCS_SIM_PROCESSES_MAX];
};

/* Take memory of a card, by the device's number over the node; false: it is not there. */
bool hcs_sim_memory_take(const struct hcs_sim_device *device, uint64_t bytes);
void hcs_sim_memory_give(const struct hcs_sim_device *device, uint64_t bytes);

/* A context begins on a card and takes what contexts take of it, unless it began before; false:
 * that is not there. `context` is what the runtime knows it by. And it ends, if it ever began. */
bool hcs_sim_context_begin(const struct hcs_sim_device *device, const void *context);
void hcs_sim_context_end(const void *context);

/* What is free on the card for anybody. */
uint64_t hcs_sim_memory_free(const struct hcs_sim_device *device);

/* Give the card work, to be begun at `after_ns` at the earliest; return when it will be done. */
uint64_t hcs_sim_card_work(const struct hcs_sim_device *device, uint64_t after_ns,
                           uint64_t duration_ns);

#endif
