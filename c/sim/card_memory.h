/* The memory of the node's cards: who holds how much, over all processes.
 *
 * Nothing is reserved; only sizes are kept, in a file beside the scenario ("<scenario>.memory")
 * that every process maps. It plays the driver's part: a card has its size for everybody together,
 * and what a dead process held is free again. Each card's highest total is kept, so that a test
 * can tell whether a quota was exceeded for even a moment. Kept apart from the interceptor's
 * ledger on purpose: one must be evidence against the other.
 */
#ifndef HCS_SIM_CARD_MEMORY_H
#define HCS_SIM_CARD_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "scenario.h"

#define HCS_SIM_MEMORY_MAGIC 0x33304d454d534348ull /* "HCSMEM03" */
#define HCS_SIM_PROCESSES_MAX 256 /* at the limit a process gets no memory */

struct hcs_sim_process_memory {
    uint64_t process; /* process.h's word; 0: free */
    uint64_t used_bytes[HCS_SIM_DEVICES_MAX];
};

struct hcs_sim_card_memory { /* the file; read by tests/c/runtime_memory.py */
    uint64_t magic;
    uint64_t peak_bytes[HCS_SIM_DEVICES_MAX];
    uint64_t processes_used; /* those at and above this index were never taken */
    struct hcs_sim_process_memory processes[HCS_SIM_PROCESSES_MAX];
};

/* Take memory of a card, by the device's number over the node; false: it is not there. */
bool hcs_sim_memory_take(const struct hcs_sim_device *device, uint64_t bytes);
void hcs_sim_memory_give(const struct hcs_sim_device *device, uint64_t bytes);

/* What is free on the card for anybody. */
uint64_t hcs_sim_memory_free(const struct hcs_sim_device *device);

#endif
