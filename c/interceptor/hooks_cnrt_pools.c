/* Cambricon: physical memory behind handles (handles.h), and what comes from pools (pools.h), in
 * the runtime and in the driver below it. */
#include "hooks_cnrt.h"
#include "pools.h"

enum { LOCATION_DEVICE = 1 };

#define GROWTH_BYTES (UINT64_C(2) << 20) /* what the card's memory is mapped in */

#define LIBRARY hcs_cnrt_library

HCS_CALLED(cnrtGetDevice);
HCS_CALLED(cnrtDeviceGetMemPool);
HCS_CALLED(cnrtMemPoolGetAttribute);

HCS_AFTER(cnrtMemPoolTrimTo, (void *pool, size_t bytes), (pool, bytes), hcs_pools_synchronized());
static const struct hcs_pool_kind runtime_kind = {
    GROWTH_BYTES, false, &find_cnrtMemPoolGetAttribute, &find_cnrtMemPoolTrimTo};

static struct hcs_pool_place runtime_pool(void *pool) {
    return (struct hcs_pool_place){&runtime_kind, HCS_KEY(pool), hcs_cnrt_card()};
}
static struct hcs_pool_place runtime_current(void) {
    int (*get_device)(int *) = hcs_real(&find_cnrtGetDevice);
    int (*get_pool)(void **, int) = hcs_real(&find_cnrtDeviceGetMemPool);
    int device;
    void *pool = NULL;
    bool known = get_device != NULL && get_pool != NULL && get_device(&device) == 0 &&
                 get_pool(&pool, device) == 0;
    return runtime_pool(known ? pool : NULL);
}

HCS_AROUND(cnrtMemPoolDestroy, (void *pool), (pool),
           uint64_t ending = hcs_pool_ending(&runtime_kind, HCS_KEY(pool)),
           hcs_pool_ended(ending));
HCS_POOL_ALLOCATION(cnrtMemAllocAsync, (void **pointer, size_t bytes, void *queue),
                    (pointer, bytes, queue), runtime_current(), bytes, HCS_KEY(*pointer));
HCS_POOL_ALLOCATION(cnrtMemAllocFromPoolAsync,
                    (void **pointer, size_t bytes, void *pool, void *queue),
                    (pointer, bytes, pool, queue), runtime_pool(pool), bytes, HCS_KEY(*pointer));
HCS_POOL_FREE(cnrtFree, (void *pointer), (pointer), HCS_KEY(pointer));
HCS_POOL_FREE(cnrtMemFreeAsync, (void *pointer, void *queue), (pointer, queue), HCS_KEY(pointer));
HCS_AFTER(cnrtSyncDevice, (void), (), hcs_pools_synchronized());
HCS_AFTER(cnrtQueueSync, (void *queue), (queue), hcs_pools_synchronized());

/* The layer below. */
#undef LIBRARY
#define LIBRARY hcs_cndrv_library

HCS_CALLED(cnCtxGetDevice);
HCS_CALLED(cnDeviceGetMemPool);
HCS_CALLED(cnMemPoolGetAttribute);

HCS_AFTER(cnMemPoolTrimTo, (void *pool, size_t bytes), (pool, bytes), hcs_pools_synchronized());
static const struct hcs_pool_kind driver_kind = {GROWTH_BYTES, false, &find_cnMemPoolGetAttribute,
                                                 &find_cnMemPoolTrimTo};

static struct hcs_pool_place driver_pool(void *pool) {
    return (struct hcs_pool_place){&driver_kind, HCS_KEY(pool), hcs_cndrv_card()};
}
static struct hcs_pool_place driver_current(void) {
    int (*get_device)(uint64_t *) = hcs_real(&find_cnCtxGetDevice);
    int (*get_pool)(void **, uint64_t) = hcs_real(&find_cnDeviceGetMemPool);
    uint64_t device = 0;
    void *pool = NULL;
    bool known = get_device != NULL && get_pool != NULL && get_device(&device) == 0 &&
                 get_pool(&pool, device) == 0;
    return driver_pool(known ? pool : NULL);
}

HCS_AROUND(cnMemPoolDestroy, (void *pool), (pool),
           uint64_t ending = hcs_pool_ending(&driver_kind, HCS_KEY(pool)),
           hcs_pool_ended(ending));
HCS_POOL_ALLOCATION(cnMemAllocAsync, (uint64_t *pointer, uint64_t bytes, void *queue),
                    (pointer, bytes, queue), driver_current(), bytes, *pointer);
HCS_POOL_ALLOCATION(cnMemAllocFromPoolAsync,
                    (uint64_t *pointer, uint64_t bytes, void *pool, void *queue),
                    (pointer, bytes, pool, queue), driver_pool(pool), bytes, *pointer);
HCS_POOL_FREE(cnFree, (uint64_t pointer), (pointer), pointer);
HCS_POOL_FREE(cnMemFreeAsync, (uint64_t pointer, void *queue), (pointer, queue), pointer);
HCS_AFTER(cnCtxSync, (void), (), hcs_pools_synchronized());
HCS_AFTER(cnQueueSync, (void *queue), (queue), hcs_pools_synchronized());
HCS_AFTER(cnWaitNotifier, (void *notifier), (notifier), hcs_pools_synchronized());

struct memory_location { /* the part of CNmemAllocationProp that says where */
    int allocation_type, handle_types;
    int location_type;
    uint32_t location_id;
};

static hcs_charge at_location(const struct memory_location *location, uint64_t bytes) {
    bool on_a_card = location != NULL && location->location_type == LOCATION_DEVICE;
    int device = on_a_card ? (int)location->location_id : -1;
    int card = hcs_cards_position(&hcs_cnrt_cards, device);
    hcs_pools_make_room(card, bytes);
    return hcs_reserve(card, bytes);
}

typedef uint64_t HANDLE;
HCS_ALLOCATION(cnMemCreate,
               (HANDLE * handle, size_t bytes, const struct memory_location *location,
                uint64_t flags),
               (handle, bytes, location, flags), at_location(location, bytes),
               hcs_handle_created(*handle));
HCS_MAPS(cnMemMap, uint64_t);
HCS_UNMAPS(cnMemUnmap, uint64_t);
HCS_RETAINS(cnMemRetainAllocationHandle);
HCS_RELEASES(cnMemRelease);
