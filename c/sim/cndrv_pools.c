/* What the simulated libcndrv.so has of pools (pools.h), and of physical memory behind handles
 * (runtime_handles.h). */
#include <stddef.h>

#include "blocks.h"
#include "cndrv.h"
#include "pools.h"
#include "runtime_cards.h"
#include "runtime_handles.h"

#define STEP_BYTES (2u << 20) /* what the card's memory is mapped in */

enum { LOCATION_DEVICE = 1 };

static CNresult done(bool possible) { return possible ? CN_SUCCESS : CN_ERROR_INVALID_VALUE; }

HCS_EXPORT CNresult cnDeviceGetMemPool(void **pool, CNdev device) {
    *pool = hcs_sim_pool_of(hcs_sim_card((int)device), STEP_BYTES);
    return *pool != NULL ? CN_SUCCESS : CN_ERROR_INVALID_DEVICE;
}

/* (By analogy with the properties of physical memory: no header names these.) */
HCS_EXPORT CNresult cnMemPoolCreate(void **pool, const CNmemPoolProps *properties) {
    bool sane = pool != NULL && properties != NULL && properties->location.type == LOCATION_DEVICE;
    const struct hcs_sim_device *card = sane ? hcs_sim_card((int)properties->location.id) : NULL;
    if (card == NULL) {
        return CN_ERROR_INVALID_VALUE;
    }
    *pool = hcs_sim_pool_create(card, STEP_BYTES);
    return *pool != NULL ? CN_SUCCESS : CN_ERROR_SYSTEM_OUT_OF_MEMORY;
}

HCS_EXPORT CNresult cnMemPoolDestroy(void *pool) { return done(hcs_sim_pool_destroy(pool)); }

HCS_EXPORT CNresult cnMemPoolGetAttribute(void *pool, int attribute, void *value) {
    return done(hcs_sim_pool_attribute(pool, attribute, value));
}

HCS_EXPORT CNresult cnMemPoolTrimTo(void *pool, size_t bytes) {
    return done(hcs_sim_pool_trim(pool, bytes));
}

/* What is queue-ordered happens at once: nothing here takes time. */
HCS_EXPORT CNresult cnMemAllocFromPoolAsync(CNaddr *address, uint64_t bytes, void *pool,
                                            CNqueue queue) {
    (void)queue;
    if (address == NULL || bytes == 0) {
        return CN_ERROR_INVALID_VALUE;
    }
    uint64_t allocated =
        bytes < UINT64_MAX - STEP_BYTES ? hcs_sim_pool_allocate(pool, bytes) : 0;
    *address = allocated != 0 ? allocated : *address;
    return allocated != 0 ? CN_SUCCESS : CN_MEMORY_ERROR_OUT_OF_MEMORY;
}

HCS_EXPORT CNresult cnMemAllocAsync(CNaddr *address, uint64_t bytes, CNqueue queue) {
    CNcontext context, own;
    CNdev device;
    void *pool;
    CNresult result = cnQueueGetContext(queue, &context);
    if (result == CN_SUCCESS) {
        cnCtxGetCurrent(&own);
        cnCtxSetCurrent(context);
        result = cnCtxGetDevice(&device);
        cnCtxSetCurrent(own);
    }
    result = result == CN_SUCCESS ? cnDeviceGetMemPool(&pool, device) : result;
    return result == CN_SUCCESS ? cnMemAllocFromPoolAsync(address, bytes, pool, queue) : result;
}

HCS_EXPORT CNresult cnMemFreeAsync(CNaddr address, CNqueue queue) {
    (void)queue;
    return cnFree(address);
}

HCS_EXPORT CNresult cnMemAddressReserve(CNaddr *address, size_t bytes, size_t alignment,
                                        CNaddr wanted, uint64_t flags) {
    (void)alignment, (void)wanted, (void)flags;
    *address = hcs_sim_addresses_reserve(bytes);
    return CN_SUCCESS;
}

HCS_EXPORT CNresult cnMemCreate(uint64_t *handle, size_t bytes,
                                const CNmemAllocationProp *properties, uint64_t flags) {
    bool sane = handle != NULL && properties != NULL && flags == 0 && bytes > 0 &&
                bytes % HCS_SIM_HANDLE_GRANULARITY_BYTES == 0 &&
                properties->location.type == LOCATION_DEVICE;
    const struct hcs_sim_device *card =
        sane ? hcs_sim_card((int)properties->location.id) : NULL;
    if (card == NULL) {
        return CN_ERROR_INVALID_VALUE;
    }
    *handle = hcs_sim_handle_create(card, bytes, NULL);
    return *handle != 0 ? CN_SUCCESS : CN_MEMORY_ERROR_OUT_OF_MEMORY;
}

HCS_EXPORT CNresult cnMemMap(CNaddr address, size_t bytes, size_t offset, uint64_t handle,
                             uint64_t flags) {
    return done(offset == 0 && flags == 0 && hcs_sim_handle_map(address, bytes, handle));
}

HCS_EXPORT CNresult cnMemUnmap(CNaddr address, size_t bytes) {
    return done(bytes > 0 && hcs_sim_handle_unmap(address, bytes));
}

HCS_EXPORT CNresult cnMemRetainAllocationHandle(uint64_t *handle, void *address) {
    return done(handle != NULL && hcs_sim_handle_retain((uint64_t)(uintptr_t)address, handle));
}

HCS_EXPORT CNresult cnMemRelease(uint64_t handle) { return done(hcs_sim_handle_release(handle)); }
