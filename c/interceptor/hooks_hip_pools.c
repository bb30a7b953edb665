/* HIP: what comes from pools, and the memory of graphs (pools.h, graphs.h). */
#include "config.h"
#include "graphs.h"
#include "hooks_hip.h"
#include "pools.h"

enum { CAPTURE_NONE = 0 };

#define GROWTH_BYTES (UINT64_C(2) << 20) /* what the card's memory is mapped in */

HCS_CALLED(hipGetDevice);
HCS_CALLED(hipGetDeviceCount);
HCS_CALLED(hipGetStreamDeviceId);
HCS_CALLED(hipDeviceGetMemPool);
HCS_CALLED(hipDeviceGetDefaultMemPool);
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

/* False: the runtime does not know this stream. */
static bool capture_status(void *stream, int *status) {
    int (*get)(void *, int *) = hcs_real(&find_hipStreamIsCapturing);
    *status = CAPTURE_NONE;
    return get != NULL && get(stream, status) == 0;
}

/* With several cards that need not be the current one. Older runtimes look into whatever they are
 * asked about: only for what is a stream. */
static HCS_SELDOM int device_of_stream(void *stream) {
    int (*get)(void *) = hcs_real(&find_hipGetStreamDeviceId);
    return get != NULL ? get(stream) : -1;
}

static int device_of(void *stream, bool is_stream) {
    int (*get)(int *) = hcs_real(&find_hipGetDevice);
    bool is_currents = HCS_KEY(stream) <= HCS_KEY(HCS_SHARE_OWN_STREAM);
    bool other = is_stream && !is_currents && hcs_config()->device_count > 1;
    int device = other ? device_of_stream(stream) : -1;
    return device >= 0 || (get != NULL && get(&device) == 0) ? device : -1;
}

/* The current pool of the stream's card. A captured allocation is a graph's and takes nothing
 * now. */
static struct hcs_pool_place in_stream(void *stream) {
    int (*get_pool)(void **, int) = hcs_real(&find_hipDeviceGetMemPool);
    int status;
    int device = device_of(stream, capture_status(stream, &status));
    void *pool = NULL;
    bool known = get_pool != NULL && device >= 0 && get_pool(&pool, device) == 0;
    int card = status == CAPTURE_NONE ? hcs_cards_position(&hcs_hip_cards, device) : -1;
    return (struct hcs_pool_place){&pool_kind, known ? HCS_KEY(pool) : 0, card};
}

/* The card whose own pool it is; one that a program made is on the program's card. (No card is
 * asked for that is not there: the runtime would remember the error, for the program.) */
static HCS_SELDOM int card_of_own_pool(const void *wanted) {
    int (*get_count)(int *) = hcs_real(&find_hipGetDeviceCount);
    int (*get)(void **, int) = hcs_real(&find_hipDeviceGetDefaultMemPool);
    int count;
    void *pool = NULL;
    if (get_count == NULL || get == NULL || get_count(&count) != 0) {
        return hcs_hip_current_card();
    }
    for (int device = 0; device < count; device++) {
        if (get(&pool, device) == 0 && pool == wanted) {
            return hcs_cards_position(&hcs_hip_cards, device);
        }
    }
    return hcs_hip_current_card();
}

static int card_of_pool(const void *pool) {
    return hcs_config()->device_count > 1 ? card_of_own_pool(pool) : hcs_hip_current_card();
}

static struct hcs_pool_place in_pool(void *pool, void *stream) {
    int status;
    capture_status(stream, &status);
    return (struct hcs_pool_place){&pool_kind, HCS_KEY(pool),
                                   status == CAPTURE_NONE ? card_of_pool(pool) : -1};
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
