/* Which cards a process sees, and in which order: the vendors' visibility variables.
 *
 * Two filters in a row, as in the real stacks. The container's (NVIDIA_VISIBLE_DEVICES,
 * ASCEND_VISIBLE_DEVICES) decides which device nodes exist: a set, numbered anew in the node's
 * order. The process's (CUDA_VISIBLE_DEVICES, ASCEND_RT_VISIBLE_DEVICES) picks and orders among
 * those; the first entry that names no card ends the list, and a card named twice leaves none.
 * A variable that is not set lets everything through; an empty one lets nothing through.
 */
#ifndef HCS_SIM_VISIBLE_H
#define HCS_SIM_VISIBLE_H

#include "scenario.h"

struct hcs_sim_visible {
    unsigned count;
    const struct hcs_sim_device *devices[HCS_SIM_DEVICES_MAX]; /* by the process's ordinal */
};

/* `container` and `process` are the variables' values, NULL when not set. */
void hcs_sim_visible(const struct hcs_sim_scenario *scenario, enum hcs_sim_vendor vendor,
                     const char *container, const char *process, struct hcs_sim_visible *out);

#endif
