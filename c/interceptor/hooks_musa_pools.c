/* Moore Threads: what comes from pools (pools.h), in the runtime and in the driver below it. (Not
 * in every version: those before 5.1 declare these functions and do not have them.) */
#include "config.h"
#include "hooks_musa.h"
#include "pools.h"

enum { CAPTURE_NONE = 0 };

#define GROWTH_BYTES (UINT64_C(2) << 20) /* a chunk of the driver's */
#define OWN_STREAM HCS_SHARE_OWN_STREAM  /* what NULL means to a _ptsz function */

static void *own(void *stream) { return stream != NULL ? stream : OWN_STREAM; }

/* A captured allocation is a graph's and takes nothing now. (Nor is it counted when the graph is
 * launched, as graphs.h does it for others: the vendor's guide names nodes that allocate, but no
 * public header says how their types are numbered and their parameters laid out.) */
static bool is_captured(struct hcs_symbol *capturing, void *stream) {
    int (*get)(void *, int *) = hcs_real(capturing);
    int status = CAPTURE_NONE;
    return get != NULL && get(stream, &status) == 0 && status != CAPTURE_NONE;
}

#define LIBRARY hcs_musa_library

HCS_CALLED(muCtxGetDevice);
HCS_CALLED(muStreamGetCtx);
HCS_CALLED(muCtxPushCurrent_v2);
HCS_CALLED(muCtxPopCurrent_v2);

/* The device of a stream's context, in both layers: with several, that need not be the current
 * one. */
static HCS_SELDOM bool device_of_stream(void *stream, int *device) {
    int (*get)(void *, void **) = hcs_real(&find_muStreamGetCtx);
    int (*push)(void *) = hcs_real(&find_muCtxPushCurrent_v2);
    int (*pop)(void **) = hcs_real(&find_muCtxPopCurrent_v2);
    int (*get_device)(int *) = hcs_real(&find_muCtxGetDevice);
    void *context = NULL;
    if (get == NULL || push == NULL || pop == NULL || get_device == NULL ||
        get(stream, &context) != 0 || push(context) != 0) {
        return false;
    }
    bool known = get_device(device) == 0;
    pop(&context);
    return known;
}

static bool device_of(struct hcs_symbol *current, void *stream, int *device) {
    bool is_currents = HCS_KEY(stream) <= HCS_KEY(OWN_STREAM); /* NULL, or one of those two */
    if (!is_currents && hcs_config()->device_count > 1 && device_of_stream(stream, device)) {
        return true;
    }
    int (*get)(int *) = hcs_real(current);
    return get != NULL && get(device) == 0;
}

/* The current pool of the stream's card; what is called for that, in one layer. */
struct layer {
    const struct hcs_pool_kind *kind;
    struct hcs_symbol *current, *pool, *capturing;
};
static struct hcs_pool_place in_stream(const struct layer *layer, void *stream) {
    int (*get_pool)(void **, int) = hcs_real(layer->pool);
    int device;
    void *pool = NULL;
    if (is_captured(layer->capturing, stream) || !device_of(layer->current, stream, &device)) {
        return (struct hcs_pool_place){layer->kind, 0, -1};
    }
    bool known = get_pool != NULL && get_pool(&pool, device) == 0;
    return (struct hcs_pool_place){layer->kind, known ? HCS_KEY(pool) : 0,
                                   hcs_cards_position(&hcs_musa_cards, device)};
}

#undef LIBRARY
#define LIBRARY hcs_musart_library

HCS_CALLED(musaGetDevice);
HCS_CALLED(musaDeviceGetMemPool);
HCS_CALLED(musaMemPoolGetAttribute);
HCS_CALLED(musaStreamIsCapturing);

HCS_AFTER(musaMemPoolTrimTo, (void *pool, size_t bytes), (pool, bytes), hcs_pools_synchronized());
static const struct hcs_pool_kind runtime_kind = {
    GROWTH_BYTES, false, &find_musaMemPoolGetAttribute, &find_musaMemPoolTrimTo};

static struct hcs_pool_place runtime_pool(void *pool, void *stream) {
    bool captured = is_captured(&find_musaStreamIsCapturing, stream);
    return (struct hcs_pool_place){&runtime_kind, HCS_KEY(pool),
                                   captured ? -1 : hcs_musart_card()};
}
static const struct layer runtime = {&runtime_kind, &find_musaGetDevice,
                                     &find_musaDeviceGetMemPool, &find_musaStreamIsCapturing};
static struct hcs_pool_place runtime_stream(void *stream) { return in_stream(&runtime, stream); }

HCS_AROUND(musaMemPoolDestroy, (void *pool), (pool),
           uint64_t ending = hcs_pool_ending(&runtime_kind, HCS_KEY(pool)),
           hcs_pool_ended(ending));
HCS_POOL_ALLOCATION(musaMallocAsync, (void **pointer, size_t bytes, void *stream),
                    (pointer, bytes, stream), runtime_stream(stream), bytes, HCS_KEY(*pointer));
HCS_POOL_ALLOCATION(musaMallocAsync_ptsz, (void **pointer, size_t bytes, void *stream),
                    (pointer, bytes, stream), runtime_stream(own(stream)), bytes,
                    HCS_KEY(*pointer));
HCS_POOL_ALLOCATION(musaMallocFromPoolAsync,
                    (void **pointer, size_t bytes, void *pool, void *stream),
                    (pointer, bytes, pool, stream), runtime_pool(pool, stream), bytes,
                    HCS_KEY(*pointer));
HCS_POOL_ALLOCATION(musaMallocFromPoolAsync_ptsz,
                    (void **pointer, size_t bytes, void *pool, void *stream),
                    (pointer, bytes, pool, stream), runtime_pool(pool, own(stream)), bytes,
                    HCS_KEY(*pointer));
HCS_POOL_FREE(musaFree, (void *pointer), (pointer), HCS_KEY(pointer));
HCS_POOL_FREE(musaFreeAsync, (void *pointer, void *stream), (pointer, stream), HCS_KEY(pointer));
HCS_POOL_FREE(musaFreeAsync_ptsz, (void *pointer, void *stream), (pointer, stream),
              HCS_KEY(pointer));
HCS_AFTER(musaDeviceSynchronize, (void), (), hcs_pools_synchronized());
HCS_AFTER(musaStreamSynchronize, (void *stream), (stream), hcs_pools_synchronized());
HCS_AFTER(musaStreamSynchronize_ptsz, (void *stream), (stream), hcs_pools_synchronized());
HCS_AFTER(musaEventSynchronize, (void *event), (event), hcs_pools_synchronized());

/* The layer below. */
#undef LIBRARY
#define LIBRARY hcs_musa_library

HCS_CALLED(muDeviceGetMemPool);
HCS_CALLED(muMemPoolGetAttribute);
HCS_CALLED(muStreamIsCapturing);

HCS_AFTER(muMemPoolTrimTo, (void *pool, size_t bytes), (pool, bytes), hcs_pools_synchronized());
static const struct hcs_pool_kind driver_kind = {GROWTH_BYTES, false, &find_muMemPoolGetAttribute,
                                                 &find_muMemPoolTrimTo};

static struct hcs_pool_place driver_pool(void *pool, void *stream) {
    bool captured = is_captured(&find_muStreamIsCapturing, stream);
    return (struct hcs_pool_place){&driver_kind, HCS_KEY(pool), captured ? -1 : hcs_musa_card()};
}
static const struct layer driver = {&driver_kind, &find_muCtxGetDevice, &find_muDeviceGetMemPool,
                                    &find_muStreamIsCapturing};
static struct hcs_pool_place driver_stream(void *stream) { return in_stream(&driver, stream); }

HCS_AROUND(muMemPoolDestroy, (void *pool), (pool),
           uint64_t ending = hcs_pool_ending(&driver_kind, HCS_KEY(pool)),
           hcs_pool_ended(ending));
HCS_POOL_ALLOCATION(muMemAllocAsync, (uint64_t *pointer, size_t bytes, void *stream),
                    (pointer, bytes, stream), driver_stream(stream), bytes, *pointer);
HCS_POOL_ALLOCATION(muMemAllocAsync_ptsz, (uint64_t *pointer, size_t bytes, void *stream),
                    (pointer, bytes, stream), driver_stream(own(stream)), bytes, *pointer);
HCS_POOL_ALLOCATION(muMemAllocFromPoolAsync,
                    (uint64_t *pointer, size_t bytes, void *pool, void *stream),
                    (pointer, bytes, pool, stream), driver_pool(pool, stream), bytes, *pointer);
HCS_POOL_ALLOCATION(muMemAllocFromPoolAsync_ptsz,
                    (uint64_t *pointer, size_t bytes, void *pool, void *stream),
                    (pointer, bytes, pool, stream), driver_pool(pool, own(stream)), bytes,
                    *pointer);
HCS_POOL_FREE(muMemFree_v2, (uint64_t pointer), (pointer), pointer);
HCS_POOL_FREE(muMemFreeAsync, (uint64_t pointer, void *stream), (pointer, stream), pointer);
HCS_POOL_FREE(muMemFreeAsync_ptsz, (uint64_t pointer, void *stream), (pointer, stream), pointer);
HCS_AFTER(muCtxSynchronize, (void), (), hcs_pools_synchronized());
HCS_AFTER(muStreamSynchronize, (void *stream), (stream), hcs_pools_synchronized());
HCS_AFTER(muStreamSynchronize_ptsz, (void *stream), (stream), hcs_pools_synchronized());
HCS_AFTER(muEventSynchronize, (void *event), (event), hcs_pools_synchronized());
