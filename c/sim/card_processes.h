/* Who holds memory of a card, as the simulated driver sees it: read from the runtimes' own books
 * (card_memory.h), which this never changes. Only processes that live are told.
 */
#ifndef HCS_SIM_CARD_PROCESSES_H
#define HCS_SIM_CARD_PROCESSES_H

#include <stddef.h>
#include <stdint.h>

#include "card_memory.h"

struct hcs_sim_card_process {
    uint32_t pid;
    uint64_t used_bytes; /* not 0 */
};

/* Fill in the processes on card `number` (over the node), at most HCS_SIM_PROCESSES_MAX; return how
 * many there are. */
size_t hcs_sim_processes_of(unsigned number, struct hcs_sim_card_process *out);

#endif
