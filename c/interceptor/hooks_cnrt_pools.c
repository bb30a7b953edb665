/* Cambricon: physical memory behind handles (handles.h), and what comes from pools (pools.h), in
 * the runtime and in the driver below it. */
#include "config.h"
#include "hooks_cnrt.h"
#include "pools.h"

enum { LOCATION_DEVICE = 1 };

#define GROWTH_BYTES (UINT64_C(2) << 20) /* what the card's memory is mapped in */

#define CN_QUEUE_TYPE_LEGACY ((void *)2) /* this one and those below are the current context's */

#define LIBRARY hcs_cndrv_library

HCS_CALLED(cnCtxGetDevice);
HCS_CALLED(cnCtxGetCurrent);
HCS_CALLED(cnCtxSetCurrent);
HCS_CALLED(cnQueueGetContext);

static bool current_device(int *device) {
    int (*get)(uint64_t *) = hcs_real(&find_cnCtxGetDevice);
    uint64_t wide = 0; /* as any version's CNdev */
    bool known = get != NULL && get(&wide) == 0;
    *device = (int)wide;
    return known;
}

/* The device of a queue's context, in both layers: with several, that need not be the current
 * one. */
static HCS_SELDOM bool device_of_queue(void *queue, int *device) {
    int (*get)(void *, void **) = hcs_real(&find_cnQueueGetContext);
    int (*get_current)(void **) = hcs_real(&find_cnCtxGetCurrent);
    int (*set_current)(void *) = hcs_real(&find_cnCtxSetCurrent);
    void *context = NULL, *own = NULL;
    if (get == NULL || get_current == NULL || set_current == NULL || get(queue, &context) != 0 ||
        get_current(&own) != 0 || set_current(context) != 0) {
        return false;
    }
    bool known = current_device(device);
    set_current(own);
    return known;
}

static bool elsewhere(void *queue, int *device) {
    bool is_currents = HCS_KEY(queue) <= HCS_KEY(CN_QUEUE_TYPE_LEGACY);
    return !is_currents && hcs_config()->device_count > 1 && device_of_queue(queue, device);
}

#undef LIBRARY
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
/* The current pool of the queue's card. */
static struct hcs_pool_place runtime_queue(void *queue) {
    int (*get_device)(int *) = hcs_real(&find_cnrtGetDevice);
    int (*get_pool)(void **, int) = hcs_real(&find_cnrtDeviceGetMemPool);
    int device;
    void *pool = NULL;
    if (!elsewhere(queue, &device) && (get_device == NULL || get_device(&device) != 0)) {
        return runtime_pool(NULL);
    }
    bool known = get_pool != NULL && get_pool(&pool, device) == 0;
    return (struct hcs_pool_place){&runtime_kind, known ? HCS_KEY(pool) : 0,
                                   hcs_cards_position(&hcs_cnrt_cards, device)};
}

HCS_AROUND(cnrtMemPoolDestroy, (void *pool), (pool),
           uint64_t ending = hcs_pool_ending(&runtime_kind, HCS_KEY(pool)),
           hcs_pool_ended(ending));
HCS_POOL_ALLOCATION(cnrtMemAllocAsync, (void **pointer, size_t bytes, void *queue),
                    (pointer, bytes, queue), runtime_queue(queue), bytes, HCS_KEY(*pointer));
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

HCS_CALLED(cnDeviceGetMemPool);
HCS_CALLED(cnMemPoolGetAttribute);

HCS_AFTER(cnMemPoolTrimTo, (void *pool, size_t bytes), (pool, bytes), hcs_pools_synchronized());
static const struct hcs_pool_kind driver_kind = {GROWTH_BYTES, false, &find_cnMemPoolGetAttribute,
                                                 &find_cnMemPoolTrimTo};

static struct hcs_pool_place driver_pool(void *pool) {
    return (struct hcs_pool_place){&driver_kind, HCS_KEY(pool), hcs_cndrv_card()};
}
static struct hcs_pool_place driver_queue(void *queue) {
    int (*get_pool)(void **, uint64_t) = hcs_real(&find_cnDeviceGetMemPool);
    int device;
    void *pool = NULL;
    if (!elsewhere(queue, &device) && !current_device(&device)) {
        return driver_pool(NULL);
    }
    bool known = get_pool != NULL && get_pool(&pool, (uint64_t)device) == 0;
    return (struct hcs_pool_place){&driver_kind, known ? HCS_KEY(pool) : 0,
                                   hcs_cards_position(&hcs_cnrt_cards, device)};
}

HCS_AROUND(cnMemPoolDestroy, (void *pool), (pool),
           uint64_t ending = hcs_pool_ending(&driver_kind, HCS_KEY(pool)),
           hcs_pool_ended(ending));
HCS_POOL_ALLOCATION(cnMemAllocAsync, (uint64_t *pointer, uint64_t bytes, void *queue),
                    (pointer, bytes, queue), driver_queue(queue), bytes, *pointer);
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
    return hcs_reserve_in(card, HCS_CONTEXT_NONE, bytes);
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
