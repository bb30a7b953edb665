/* Moore Threads: what comes from pools (pools.h), in the runtime and in the driver below it. (Not
 * in every version: those before 5.1 declare these functions and do not have them.) */
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

static void *current_pool(struct hcs_symbol *get_device, struct hcs_symbol *get_pool) {
    int (*device_of)(int *) = hcs_real(get_device);
    int (*pool_of)(void **, int) = hcs_real(get_pool);
    int device;
    void *pool = NULL;
    bool known = device_of != NULL && pool_of != NULL && device_of(&device) == 0 &&
                 pool_of(&pool, device) == 0;
    return known ? pool : NULL;
}

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
static struct hcs_pool_place runtime_stream(void *stream) {
    return runtime_pool(current_pool(&find_musaGetDevice, &find_musaDeviceGetMemPool), stream);
}

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

HCS_CALLED(muCtxGetDevice);
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
static struct hcs_pool_place driver_stream(void *stream) {
    return driver_pool(current_pool(&find_muCtxGetDevice, &find_muDeviceGetMemPool), stream);
}

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
