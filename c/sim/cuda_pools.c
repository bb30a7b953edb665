/* What the simulated libcuda.so.1 allocates in streams: from pools (pools.h), and, in a stream that
 * is captured or by a node, for a graph (graph_memory.h). */
#include <stdbool.h>

#include "blocks.h"
#include "card_work.h"
#include "cuda.h"
#include "graph_memory.h"
#include "pools.h"

#define GRANULARITY_BYTES 512
#define STEP_BYTES (32u << 20) /* what the real driver's pools are seen to grow by */

enum { LOCATION_NONE = 0, LOCATION_DEVICE = 1, ALLOCATION_MANAGED = 2 };

static struct hcs_sim_pool *chosen[HCS_SIM_DEVICES_MAX]; /* by cuDeviceSetMemPool */

static CUresult done(bool possible) { return possible ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE; }

static void *own(void *stream) { return stream == NULL ? HCS_SIM_STREAM_PER_THREAD : stream; }

static struct hcs_sim_pool *pool_of(CUdevice device) {
    return hcs_sim_pool_of(hcs_cuda_card(device), STEP_BYTES);
}

HCS_EXPORT CUresult cuDeviceGetDefaultMemPool(void **pool, CUdevice device) {
    *pool = pool_of(device);
    return *pool != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

HCS_EXPORT CUresult cuDeviceGetMemPool(void **pool, CUdevice device) {
    CUresult result = cuDeviceGetDefaultMemPool(pool, device);
    *pool = result == CUDA_SUCCESS && chosen[device] != NULL ? chosen[device] : *pool;
    return result;
}

HCS_EXPORT CUresult cuDeviceSetMemPool(CUdevice device, void *pool) {
    if (hcs_cuda_card(device) == NULL) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    chosen[device] = pool;
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuMemPoolCreate(void **pool, const CUmemPoolProps *properties) {
    const struct hcs_sim_device *card =
        properties != NULL ? hcs_cuda_card_at(properties->location.type, properties->location.id)
                           : NULL;
    if (properties != NULL && properties->allocType == ALLOCATION_MANAGED &&
        properties->location.type == LOCATION_NONE) {
        card = hcs_cuda_current_card(); /* which uses it */
    }
    *pool = card != NULL ? hcs_sim_pool_create(card, STEP_BYTES) : NULL;
    return done(*pool != NULL);
}

HCS_EXPORT CUresult cuMemPoolDestroy(void *pool) { return done(hcs_sim_pool_destroy(pool)); }

HCS_EXPORT CUresult cuMemPoolGetAttribute(void *pool, int attribute, void *value) {
    return done(hcs_sim_pool_attribute(pool, attribute, value));
}

HCS_EXPORT CUresult cuMemPoolSetAttribute(void *pool, int attribute, void *value) {
    return done(hcs_sim_pool_set(pool, attribute, *(uint64_t *)value));
}

HCS_EXPORT CUresult cuMemPoolTrimTo(void *pool, size_t bytes) {
    return done(hcs_sim_pool_trim(pool, bytes));
}

static bool is_captured(void *stream) {
    int status = 0;
    hcs_sim_capture_status(hcs_cuda_current_card(), stream, &status);
    return status != 0;
}

/* The card of the stream's context, which need not be the current one. */
static CUresult device_of_stream(void *stream, CUdevice *device) {
    CUcontext context;
    CUresult result = cuStreamGetCtx(stream, &context);
    *device = result == CUDA_SUCCESS ? hcs_cuda_device_of(context) : -1;
    return result;
}

static CUresult capture(CUdeviceptr *pointer, size_t bytes, void *stream) {
    struct hcs_sim_allocation_node node = {.bytes = bytes, .location_type = LOCATION_DEVICE};
    CUresult result = device_of_stream(stream, &node.location_id);
    if (result != CUDA_SUCCESS) {
        return result;
    }
    const struct hcs_sim_device *card = hcs_cuda_card(node.location_id);
    bool added = hcs_sim_node_allocation(stream, card, &node, NULL);
    *pointer = node.address;
    return added ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* What is stream-ordered happens at once: nothing here takes time. */
HCS_EXPORT CUresult cuMemAllocFromPoolAsync(CUdeviceptr *pointer, size_t bytes, void *pool,
                                            void *stream) {
    CUresult result = hcs_cuda_check_current();
    if (result != CUDA_SUCCESS || pool == NULL || pointer == NULL) {
        return result != CUDA_SUCCESS ? result : CUDA_ERROR_INVALID_VALUE;
    }
    if (bytes > SIZE_MAX - STEP_BYTES) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (is_captured(stream)) {
        return capture(pointer, bytes, stream);
    }
    uint64_t rounded = (bytes + GRANULARITY_BYTES - 1) / GRANULARITY_BYTES * GRANULARITY_BYTES;
    uint64_t address = hcs_sim_pool_allocate(pool, rounded);
    *pointer = address != 0 ? address : *pointer;
    return address != 0 ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

HCS_EXPORT CUresult cuMemAllocFromPoolAsync_ptsz(CUdeviceptr *pointer, size_t bytes, void *pool,
                                                 void *stream) {
    return cuMemAllocFromPoolAsync(pointer, bytes, pool, own(stream));
}

HCS_EXPORT CUresult cuMemAllocAsync(CUdeviceptr *pointer, size_t bytes, void *stream) {
    CUdevice device;
    void *pool;
    CUresult result = device_of_stream(stream, &device);
    result = result == CUDA_SUCCESS ? cuDeviceGetMemPool(&pool, device) : result;
    return result == CUDA_SUCCESS ? cuMemAllocFromPoolAsync(pointer, bytes, pool, stream) : result;
}

HCS_EXPORT CUresult cuMemAllocAsync_ptsz(CUdeviceptr *pointer, size_t bytes, void *stream) {
    return cuMemAllocAsync(pointer, bytes, own(stream));
}

HCS_EXPORT CUresult cuMemFreeAsync(CUdeviceptr pointer, void *stream) {
    if (hcs_cuda_check_current() == CUDA_SUCCESS && is_captured(stream)) {
        return done(hcs_sim_node_free(stream, pointer, NULL));
    }
    return cuMemFree_v2(pointer);
}

HCS_EXPORT CUresult cuMemFreeAsync_ptsz(CUdeviceptr pointer, void *stream) {
    return cuMemFreeAsync(pointer, own(stream));
}

HCS_EXPORT CUresult cuGraphCreate(void **graph, unsigned flags) {
    return flags == 0 ? hcs_sim_graph_create(graph) : CUDA_ERROR_INVALID_VALUE;
}

HCS_EXPORT CUresult cuGraphAddMemAllocNode(void **node, void *graph, const void *const *behind,
                                           size_t count,
                                           struct hcs_sim_allocation_node *parameters) {
    (void)behind, (void)count;
    const struct hcs_sim_device *card =
        hcs_cuda_card_at(parameters->location_type, parameters->location_id);
    return done(card != NULL && parameters->bytes > 0 &&
                hcs_sim_node_allocation(graph, card, parameters, node));
}

HCS_EXPORT CUresult cuGraphAddMemFreeNode(void **node, void *graph, const void *const *behind,
                                          size_t count, CUdeviceptr pointer) {
    (void)behind, (void)count;
    return done(hcs_sim_node_free(graph, pointer, node));
}

HCS_EXPORT CUresult cuGraphGetNodes(void *graph, void **nodes, size_t *count) {
    hcs_sim_nodes(graph, nodes, count);
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuGraphNodeGetType(void *node, int *type) {
    *type = hcs_sim_node_type(node);
    return done(*type >= 0);
}

HCS_EXPORT CUresult cuGraphMemAllocNodeGetParams(void *node,
                                                 struct hcs_sim_allocation_node *parameters) {
    return done(hcs_sim_node_parameters(node, parameters));
}

HCS_EXPORT CUresult cuDeviceGetGraphMemAttribute(CUdevice device, int attribute, void *value) {
    const struct hcs_sim_device *card = hcs_cuda_card(device);
    if (card == NULL) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    *(uint64_t *)value = hcs_sim_graphs_attribute(card, attribute);
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuDeviceGraphMemTrim(CUdevice device) {
    const struct hcs_sim_device *card = hcs_cuda_card(device);
    if (card == NULL) {
        return CUDA_ERROR_INVALID_DEVICE;
    }
    hcs_sim_graphs_trim(card);
    return CUDA_SUCCESS;
}
