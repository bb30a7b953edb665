/* CUDA: what comes from pools, and the memory of graphs (pools.h, graphs.h). */
#include "config.h"
#include "graphs.h"
#include "hooks_cuda.h"
#include "lock.h"
#include "pools.h"
#include "table.h"

enum { CAPTURE_NONE = 0 };
enum { ALLOCATION_MANAGED = 2 };

/* No document says in what steps the driver's pools grow; they are seen to take 32 MiB. */
#define GROWTH_BYTES (UINT64_C(32) << 20)

/* NULL and these are streams of the current context, whichever that is. */
#define LEGACY_STREAM ((void *)1)
#define OWN_STREAM ((void *)2) /* what NULL means to a _ptsz function */

HCS_CALLED(cuCtxGetDevice);
HCS_CALLED(cuDeviceGetMemPool);
HCS_CALLED(cuDeviceGetDefaultMemPool);
HCS_CALLED(cuMemPoolGetAttribute);
HCS_CALLED(cuDeviceGetGraphMemAttribute);
HCS_CALLED(cuStreamIsCapturing);
HCS_CALLED(cuStreamGetCtx);
HCS_CALLED(cuCtxPushCurrent_v2);
HCS_CALLED(cuCtxPopCurrent_v2);
HCS_CALLED(cuGraphGetNodes);
HCS_CALLED(cuGraphNodeGetType);
HCS_CALLED(cuGraphMemAllocNodeGetParams);
HCS_CALLED(cuGraphChildGraphNodeGetGraph);

HCS_AFTER(cuMemPoolTrimTo, (void *pool, size_t bytes), (pool, bytes), hcs_pools_synchronized());
HCS_AFTER(cuDeviceGraphMemTrim, (int device), (device), hcs_pools_synchronized());

static const struct hcs_pool_kind pool_kind = {GROWTH_BYTES, false, &find_cuMemPoolGetAttribute,
                                               &find_cuMemPoolTrimTo};
static const struct hcs_pool_kind graphs_kind = {
    GROWTH_BYTES, true, &find_cuDeviceGetGraphMemAttribute, &find_cuDeviceGraphMemTrim};

static const struct hcs_graph_runtime graph_runtime = {
    .nodes = &find_cuGraphGetNodes,
    .type = &find_cuGraphNodeGetType,
    .allocation = &find_cuGraphMemAllocNodeGetParams,
    .child = &find_cuGraphChildGraphNodeGetGraph,
    .kind = &graphs_kind,
    .cards = &hcs_cuda_cards,
};

/* A captured allocation is a graph's and takes nothing now. */
static bool is_captured(void *stream) {
    int (*get)(void *, int *) = hcs_real(&find_cuStreamIsCapturing);
    int status = CAPTURE_NONE;
    return get != NULL && get(stream, &status) == CUDA_SUCCESS && status != CAPTURE_NONE;
}

static bool current_device(int *device) {
    int (*get)(int *) = hcs_real(&find_cuCtxGetDevice);
    return get != NULL && get(device) == CUDA_SUCCESS;
}

/* The card of a stream's context: with several, that need not be the current one. */
static HCS_SELDOM bool device_of_stream(void *stream, int *device) {
    int (*get)(void *, void **) = hcs_real(&find_cuStreamGetCtx);
    int (*push)(void *) = hcs_real(&find_cuCtxPushCurrent_v2);
    int (*pop)(void **) = hcs_real(&find_cuCtxPopCurrent_v2);
    void *context = NULL;
    if (get == NULL || push == NULL || pop == NULL || get(stream, &context) != CUDA_SUCCESS ||
        push(context) != CUDA_SUCCESS) {
        return false;
    }
    bool known = current_device(device);
    pop(&context);
    return known;
}

static bool device_of(void *stream, int *device) {
    bool is_currents = stream == NULL || stream == LEGACY_STREAM || stream == OWN_STREAM;
    if (!is_currents && hcs_config()->device_count > 1 && device_of_stream(stream, device)) {
        return true;
    }
    return current_device(device);
}

/* The current pool of the stream's card. */
static struct hcs_pool_place in_stream(void *stream) {
    int (*get_pool)(void **, int) = hcs_real(&find_cuDeviceGetMemPool);
    int device;
    void *pool = NULL;
    if (is_captured(stream) || !device_of(stream, &device)) {
        return (struct hcs_pool_place){&pool_kind, 0, -1};
    }
    bool known = get_pool != NULL && get_pool(&pool, device) == CUDA_SUCCESS;
    return (struct hcs_pool_place){&pool_kind, known ? HCS_KEY(pool) : 0,
                                   hcs_cards_position(&hcs_cuda_cards, device)};
}

struct pool_properties { /* the part of CUmemPoolProps that says where */
    int allocation_type, handle_types;
    int location_type, location_id;
};

/* The card of a pool that a program names: told when it was made, or one of the cards' own. */
static struct hcs_lock pools_lock;
static struct hcs_table pools_made; /* handle -> 1 + the card's number, 0: on no card */

static int default_pool_card(const void *wanted) {
    int (*get)(void **, int) = hcs_real(&find_cuDeviceGetDefaultMemPool);
    void *pool = NULL;
    for (int device = 0; get != NULL && get(&pool, device) == CUDA_SUCCESS; device++) {
        if (pool == wanted) {
            return hcs_cards_position(&hcs_cuda_cards, device);
        }
    }
    return hcs_cuda_current().card;
}

static int card_of_pool(const void *pool) {
    hcs_lock(&pools_lock);
    const uint64_t *found = hcs_table_find(&pools_made, HCS_KEY(pool));
    int device = found != NULL ? (int)*found - 1 : 0;
    hcs_unlock(&pools_lock);
    return found != NULL ? hcs_cards_position(&hcs_cuda_cards, device) : default_pool_card(pool);
}

/* Managed memory is on whichever card uses it: charged, as all of it is, to the current one. */
static void pool_made(const void *pool, const struct pool_properties *properties) {
    int device = hcs_cuda_device_at(properties->location_type, properties->location_id);
    bool on_a_card = device >= 0 || (properties->allocation_type == ALLOCATION_MANAGED &&
                                     current_device(&device));
    uint64_t number = on_a_card ? (uint64_t)device + 1 : 0;
    hcs_lock(&pools_lock);
    hcs_table_put(&pools_made, HCS_KEY(pool), &number);
    hcs_unlock(&pools_lock);
}

static struct hcs_pool_place in_pool(void *pool, void *stream) {
    bool captured = pool == NULL || is_captured(stream);
    return (struct hcs_pool_place){&pool_kind, HCS_KEY(pool), captured ? -1 : card_of_pool(pool)};
}

HCS_AFTER(cuMemPoolCreate, (void **pool, const struct pool_properties *properties),
          (pool, properties), pool_made(*pool, properties));
HCS_AROUND(cuMemPoolDestroy, (void *pool), (pool),
           uint64_t ending = hcs_pool_ending(&pool_kind, HCS_KEY(pool)), hcs_pool_ended(ending));

static void *own(void *stream) { return stream != NULL ? stream : OWN_STREAM; }

HCS_POOL_ALLOCATION(cuMemAllocAsync, (uint64_t *pointer, size_t bytes, void *stream),
                    (pointer, bytes, stream), in_stream(stream), bytes, *pointer);
HCS_POOL_ALLOCATION(cuMemAllocAsync_ptsz, (uint64_t *pointer, size_t bytes, void *stream),
                    (pointer, bytes, stream), in_stream(own(stream)), bytes, *pointer);
HCS_POOL_ALLOCATION(cuMemAllocFromPoolAsync,
                    (uint64_t *pointer, size_t bytes, void *pool, void *stream),
                    (pointer, bytes, pool, stream), in_pool(pool, stream), bytes, *pointer);
HCS_POOL_ALLOCATION(cuMemAllocFromPoolAsync_ptsz,
                    (uint64_t *pointer, size_t bytes, void *pool, void *stream),
                    (pointer, bytes, pool, stream), in_pool(pool, own(stream)), bytes, *pointer);
HCS_POOL_FREE(cuMemFreeAsync, (uint64_t pointer, void *stream), (pointer, stream), pointer);
HCS_POOL_FREE(cuMemFreeAsync_ptsz, (uint64_t pointer, void *stream), (pointer, stream), pointer);

/* Where the driver gives back what pools hold above their threshold. */
HCS_AFTER(cuCtxSynchronize, (void), (), hcs_pools_synchronized());
HCS_AFTER(cuCtxSynchronize_v2, (void *context), (context), hcs_pools_synchronized());
HCS_AFTER(cuStreamSynchronize, (void *stream), (stream), hcs_pools_synchronized());
HCS_AFTER(cuStreamSynchronize_ptsz, (void *stream), (stream), hcs_pools_synchronized());
HCS_AFTER(cuEventSynchronize, (void *event), (event), hcs_pools_synchronized());

/* Graphs: all ways to make one executable. */
HCS_AFTER(cuGraphInstantiate,
          (void **executable, void *graph, void **node, char *text, size_t text_bytes),
          (executable, graph, node, text, text_bytes),
          hcs_graph_instantiated(&graph_runtime, *executable, graph));
HCS_AFTER(cuGraphInstantiate_v2,
          (void **executable, void *graph, void **node, char *text, size_t text_bytes),
          (executable, graph, node, text, text_bytes),
          hcs_graph_instantiated(&graph_runtime, *executable, graph));
HCS_AFTER(cuGraphInstantiateWithFlags, (void **executable, void *graph, uint64_t flags),
          (executable, graph, flags),
          hcs_graph_instantiated(&graph_runtime, *executable, graph));
HCS_AFTER(cuGraphInstantiateWithParams, (void **executable, void *graph, void *parameters),
          (executable, graph, parameters),
          hcs_graph_instantiated(&graph_runtime, *executable, graph));
HCS_AFTER(cuGraphInstantiateWithParams_ptsz, (void **executable, void *graph, void *parameters),
          (executable, graph, parameters),
          hcs_graph_instantiated(&graph_runtime, *executable, graph));
HCS_AFTER(cuGraphExecDestroy, (void *executable), (executable), hcs_graph_ended(executable));

HCS_GRAPH_UPLOAD(cuGraphUpload);
HCS_GRAPH_UPLOAD(cuGraphUpload_ptsz);
