/* HIP: what comes from pools, and the memory of graphs (pools.h, graphs.h). */
#include "graphs.h"
#include "hooks_hip.h"
#include "pools.h"

enum { CAPTURE_NONE = 0 };

#define GROWTH_BYTES (UINT64_C(2) << 20) /* what the card's memory is mapped in */

HCS_CALLED(hipGetDevice);
HCS_CALLED(hipDeviceGetMemPool);
HCS_CALLED(hipMemPoolGetAttribute);
HCS_CALLED(hipDeviceGetGraphMemAttribute);
HCS_CALLED(hipStreamIsCapturing);
HCS_CALLED(hipGraphGetNodes);
HCS_CALLED(hipGraphNodeGetType);
HCS_CALLED(hipGraphMemAllocNodeGetParams);
HCS_CALLED(hipGraphChildGraphNodeGetGraph);

HCS_AFTER(hipMemPoolTrimTo, (void *pool, size_t bytes), (pool, bytes), hcs_pools_synchronized());
HCS_AFTER(hipDeviceGraphMemTrim, (int device), (device), hcs_pools_synchronized());

static const struct hcs_pool_kind pool_kind = {GROWTH_BYTES, false, &find_hipMemPoolGetAttribute,
                                               &find_hipMemPoolTrimTo};
static const struct hcs_pool_kind graphs_kind = {
    GROWTH_BYTES, true, &find_hipDeviceGetGraphMemAttribute, &find_hipDeviceGraphMemTrim};

static const struct hcs_graph_runtime graph_runtime = {
    .nodes = &find_hipGraphGetNodes,
    .type = &find_hipGraphNodeGetType,
    .allocation = &find_hipGraphMemAllocNodeGetParams,
    .child = &find_hipGraphChildGraphNodeGetGraph,
    .kind = &graphs_kind,
    .cards = &hcs_hip_cards,
};

/* A captured allocation is a graph's and takes nothing now. */
static bool is_captured(void *stream) {
    int (*get)(void *, int *) = hcs_real(&find_hipStreamIsCapturing);
    int status = CAPTURE_NONE;
    return get != NULL && get(stream, &status) == 0 && status != CAPTURE_NONE;
}

/* The current pool of the current card; a program that names a pool is on its card. */
static struct hcs_pool_place in_pool(void *pool, void *stream) {
    return (struct hcs_pool_place){&pool_kind, HCS_KEY(pool),
                                   is_captured(stream) ? -1 : hcs_hip_current_card()};
}

static struct hcs_pool_place in_stream(void *stream) {
    int (*get_device)(int *) = hcs_real(&find_hipGetDevice);
    int (*get_pool)(void **, int) = hcs_real(&find_hipDeviceGetMemPool);
    int device;
    void *pool = NULL;
    bool known = get_device != NULL && get_pool != NULL && get_device(&device) == 0 &&
                 get_pool(&pool, device) == 0;
    return in_pool(known ? pool : NULL, stream);
}

HCS_AROUND(hipMemPoolDestroy, (void *pool), (pool),
           uint64_t ending = hcs_pool_ending(&pool_kind, HCS_KEY(pool)), hcs_pool_ended(ending));

HCS_POOL_ALLOCATION(hipMallocAsync, (void **pointer, size_t bytes, void *stream),
                    (pointer, bytes, stream), in_stream(stream), bytes, HCS_KEY(*pointer));
HCS_POOL_ALLOCATION(hipMallocFromPoolAsync,
                    (void **pointer, size_t bytes, void *pool, void *stream),
                    (pointer, bytes, pool, stream), in_pool(pool, stream), bytes,
                    HCS_KEY(*pointer));
HCS_POOL_FREE(hipFree, (void *pointer), (pointer), HCS_KEY(pointer));
HCS_POOL_FREE(hipFreeAsync, (void *pointer, void *stream), (pointer, stream), HCS_KEY(pointer));

/* Where the runtime gives back what pools hold above their threshold. */
HCS_AFTER(hipDeviceSynchronize, (void), (), hcs_pools_synchronized());
HCS_AFTER(hipStreamSynchronize, (void *stream), (stream), hcs_pools_synchronized());
HCS_AFTER(hipStreamSynchronize_spt, (void *stream), (stream), hcs_pools_synchronized());
HCS_AFTER(hipEventSynchronize, (void *event), (event), hcs_pools_synchronized());

/* Graphs: all ways to make one executable. */
HCS_AFTER(hipGraphInstantiate,
          (void **executable, void *graph, void **node, char *text, size_t text_bytes),
          (executable, graph, node, text, text_bytes),
          hcs_graph_instantiated(&graph_runtime, *executable, graph));
HCS_AFTER(hipGraphInstantiateWithFlags, (void **executable, void *graph, uint64_t flags),
          (executable, graph, flags),
          hcs_graph_instantiated(&graph_runtime, *executable, graph));
HCS_AFTER(hipGraphInstantiateWithParams, (void **executable, void *graph, void *parameters),
          (executable, graph, parameters),
          hcs_graph_instantiated(&graph_runtime, *executable, graph));
HCS_AFTER(hipGraphExecDestroy, (void *executable), (executable), hcs_graph_ended(executable));
HCS_GRAPH_UPLOAD(hipGraphUpload);
