/* What the simulated libcndrv.so allocates besides cnMalloc: on nodes of a card, for frames, and
 * several blocks made one. */
#include <stdbool.h>
#include <stddef.h>

#include "blocks.h"
#include "cndrv.h"
#include "runtime_cards.h"

HCS_EXPORT CNresult cnMallocSecurity(CNaddr *address, uint64_t bytes) {
    return cnMalloc(address, bytes);
}

HCS_EXPORT CNresult cnZmallocNode(CNaddr *address, uint64_t bytes, int node) {
    return cnMallocNode(address, bytes, node);
}

HCS_EXPORT CNresult cnMallocNodeConstant(CNaddr *address, uint64_t bytes, int node) {
    return cnMallocNode(address, bytes, node);
}

HCS_EXPORT CNresult cnMallocFrameBuffer(CNaddr *address, uint64_t bytes, int node) {
    return cnMallocNode(address, bytes, node);
}

/* A card has one node here. */
HCS_EXPORT CNresult cnMemGetNodeInfo(uint64_t *free_bytes, uint64_t *total_bytes, int node) {
    return node == 0 ? cnMemGetInfo(free_bytes, total_bytes) : CN_ERROR_INVALID_VALUE;
}

/* What was several blocks has one address from now on, and one end. */
HCS_EXPORT CNresult cnMemMerge(CNaddr *merged, unsigned count, const CNaddr *addresses) {
    bool possible = merged != NULL && count > 0 && addresses != NULL;
    return possible && hcs_sim_blocks_merge(merged, count, addresses) ? CN_SUCCESS
                                                                      : CN_ERROR_INVALID_VALUE;
}

/* What is imported is the exporter's: nothing of a card is taken for it. */
HCS_EXPORT CNresult cnIpcOpenMemHandle(CNaddr *address, void *handle, unsigned flag) {
    *address = (CNaddr)(uintptr_t)handle;
    return flag == 0 ? CN_SUCCESS : CN_ERROR_INVALID_VALUE;
}
