/* What the simulated libamdhip64.so allocates in streams: from pools (pools.h), and, in a stream
 * that is captured or by a node, for a graph (graph_memory.h). */
#include <stdbool.h>

#include "blocks.h"
#include "card_work.h"
#include "graph_memory.h"
#include "hip.h"
#include "pools.h"

#define STEP_BYTES 4096 /* a page of the card */

enum { LOCATION_DEVICE = 1 };

static hipError_t done(bool possible) { return possible ? hipSuccess : hipErrorInvalidValue; }

HCS_EXPORT hipError_t hipDeviceGetDefaultMemPool(void **pool, int device) {
    hcs_hip_card();
    *pool = hcs_sim_pool_of(hcs_sim_card(device), STEP_BYTES);
    return *pool != NULL ? hipSuccess : hipErrorInvalidDevice;
}

HCS_EXPORT hipError_t hipDeviceGetMemPool(void **pool, int device) {
    return hipDeviceGetDefaultMemPool(pool, device);
}

HCS_EXPORT hipError_t hipMemPoolCreate(void **pool, const struct memory_location *location) {
    hcs_hip_card();
    bool on_a_card = location != NULL && location->location_type == LOCATION_DEVICE;
    const struct hcs_sim_device *card = on_a_card ? hcs_sim_card(location->location_id) : NULL;
    *pool = card != NULL ? hcs_sim_pool_create(card, STEP_BYTES) : NULL;
    return done(*pool != NULL);
}

HCS_EXPORT hipError_t hipMemPoolDestroy(void *pool) { return done(hcs_sim_pool_destroy(pool)); }

HCS_EXPORT hipError_t hipMemPoolGetAttribute(void *pool, int attribute, void *value) {
    return hcs_hip_answer(done(hcs_sim_pool_attribute(pool, attribute, value)));
}

HCS_EXPORT hipError_t hipMemPoolSetAttribute(void *pool, int attribute, void *value) {
    return done(hcs_sim_pool_set(pool, attribute, *(uint64_t *)value));
}

HCS_EXPORT hipError_t hipMemPoolTrimTo(void *pool, size_t bytes) {
    return done(hcs_sim_pool_trim(pool, bytes));
}

static hipError_t capture(void **pointer, size_t bytes, void *stream) {
    struct hcs_sim_allocation_node node = {.location_type = LOCATION_DEVICE,
                                           .location_id = hipGetStreamDeviceId(stream),
                                           .bytes = bytes};
    const struct hcs_sim_device *card = hcs_sim_card(node.location_id);
    bool added = hcs_sim_node_allocation(stream, card, &node, NULL);
    *pointer = (void *)(uintptr_t)node.address;
    return added ? hipSuccess : hipErrorOutOfMemory;
}

static bool is_captured(void *stream) {
    int status = 0;
    hcs_sim_capture_status(hcs_hip_card(), stream, &status);
    return status != 0;
}

/* What is stream-ordered happens at once: nothing here takes time. */
static hipError_t from_pool(void **pointer, size_t bytes, void *pool, void *stream) {
    if (hcs_hip_card() == NULL || pool == NULL || pointer == NULL) {
        return hipErrorInvalidValue;
    }
    if (bytes > SIZE_MAX - STEP_BYTES) {
        return hipErrorOutOfMemory;
    }
    if (is_captured(stream)) {
        return capture(pointer, bytes, stream);
    }
    uint64_t rounded = (bytes + STEP_BYTES - 1) / STEP_BYTES * STEP_BYTES;
    uint64_t address = hcs_sim_pool_allocate(pool, rounded);
    *pointer = address != 0 ? (void *)(uintptr_t)address : *pointer;
    return address != 0 ? hipSuccess : hipErrorOutOfMemory;
}

HCS_EXPORT hipError_t hipMallocFromPoolAsync(void **pointer, size_t bytes, void *pool,
                                             void *stream) {
    return hcs_hip_answer(from_pool(pointer, bytes, pool, stream));
}

HCS_EXPORT hipError_t hipMallocAsync(void **pointer, size_t bytes, void *stream) {
    void *pool;
    hipError_t result = hipDeviceGetMemPool(&pool, hipGetStreamDeviceId(stream));
    return result == hipSuccess ? hipMallocFromPoolAsync(pointer, bytes, pool, stream) : result;
}

HCS_EXPORT hipError_t hipFree(void *pointer) {
    uint64_t address = (uint64_t)(uintptr_t)pointer;
    return done(address == 0 || hcs_sim_block_free(address) ||
                hcs_sim_graph_allocation_free(address));
}

HCS_EXPORT hipError_t hipFreeAsync(void *pointer, void *stream) {
    if (is_captured(stream)) {
        return done(hcs_sim_node_free(stream, (uint64_t)(uintptr_t)pointer, NULL));
    }
    return hipFree(pointer);
}

HCS_EXPORT hipError_t hipGraphCreate(void **graph, unsigned flags) {
    return flags == 0 ? hcs_sim_graph_create(graph) : hipErrorInvalidValue;
}

HCS_EXPORT hipError_t hipGraphAddMemAllocNode(void **node, void *graph, const void *const *behind,
                                              size_t count,
                                              struct hcs_sim_allocation_node *parameters) {
    (void)behind, (void)count;
    hcs_hip_card();
    bool on_a_card = parameters->location_type == LOCATION_DEVICE;
    const struct hcs_sim_device *card = on_a_card ? hcs_sim_card(parameters->location_id) : NULL;
    return done(card != NULL && parameters->bytes > 0 &&
                hcs_sim_node_allocation(graph, card, parameters, node));
}

HCS_EXPORT hipError_t hipGraphGetNodes(void *graph, void **nodes, size_t *count) {
    hcs_sim_nodes(graph, nodes, count);
    return hipSuccess;
}

HCS_EXPORT hipError_t hipGraphNodeGetType(void *node, int *type) {
    *type = hcs_sim_node_type(node);
    return done(*type >= 0);
}

HCS_EXPORT hipError_t hipGraphMemAllocNodeGetParams(void *node,
                                                    struct hcs_sim_allocation_node *parameters) {
    return done(hcs_sim_node_parameters(node, parameters));
}

HCS_EXPORT hipError_t hipDeviceGetGraphMemAttribute(int device, int attribute, void *value) {
    const struct hcs_sim_device *card = hcs_sim_card(device);
    *(uint64_t *)value = card != NULL ? hcs_sim_graphs_attribute(card, attribute) : 0;
    return card != NULL ? hipSuccess : hipErrorInvalidDevice;
}

HCS_EXPORT hipError_t hipDeviceGraphMemTrim(int device) {
    const struct hcs_sim_device *card = hcs_sim_card(device);
    if (card != NULL) {
        hcs_sim_graphs_trim(card);
    }
    return card != NULL ? hipSuccess : hipErrorInvalidDevice;
}
