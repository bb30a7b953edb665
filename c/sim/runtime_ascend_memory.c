/* What the simulated libruntime.so allocates besides rtMalloc: with a configuration, for the media
 * units, managed, and from pools (pools.h). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blocks.h"
#include "pools.h"
#include "runtime_ascend.h"
#include "runtime_cards.h"
#include "runtime_handles.h"

#define POOL_STEP_BYTES (2u << 20) /* the smallest block of a pool */

enum { LOCATION_DEVICE = 1 };
enum { DEVICE_ID = 2 }; /* an attribute of a configuration */
enum { ADVICE_MEDIA = 1 };
enum { POLICY_BITS = 0xff }; /* beside them is said which memory it is to be */
enum { TOTAL_GLOBAL_MEMORY = 301 };

static rtError_t done(bool possible) { return possible ? ACL_SUCCESS : ACL_ERROR_RT_PARAM_INVALID; }

/* A configuration may name a card, but no other one than the current. */
static bool is_of_current_card(const struct allocation_config *config) {
    for (size_t i = 0; config != NULL && i < config->count; i++) {
        if (config->attributes[i].attribute == DEVICE_ID &&
            config->attributes[i].device != (uint32_t)hcs_sim_card_number()) {
            return false;
        }
    }
    return true;
}

/* The media units' memory is all of huge pages. */
static rtError_t allocate_for_media(void **pointer, uint64_t bytes, uint32_t type) {
    bool giant = (type & RT_MEMORY_POLICY_HUGE1G_PAGE_ONLY) != 0;
    return rtMalloc(pointer, bytes,
                    giant ? RT_MEMORY_POLICY_HUGE1G_PAGE_ONLY : RT_MEMORY_POLICY_HUGE_PAGE_ONLY,
                    0);
}

HCS_EXPORT rtError_t rtMemAlloc(void **pointer, uint64_t bytes, int policy, int advice,
                                struct allocation_config *config) {
    uint32_t type = hcs_sim_ascend_type(policy & POLICY_BITS);
    if (!is_of_current_card(config)) {
        return ACL_ERROR_RT_PARAM_INVALID;
    }
    return advice == ADVICE_MEDIA ? allocate_for_media(pointer, bytes, type)
                                  : rtMalloc(pointer, bytes, type, 0);
}

HCS_EXPORT rtError_t rtsMalloc(void **pointer, uint64_t bytes, int policy, int advice,
                               struct allocation_config *config) {
    return rtMemAlloc(pointer, bytes, policy, advice, config);
}

HCS_EXPORT rtError_t rtsFree(void *pointer) { return rtFree(pointer); }

HCS_EXPORT rtError_t rtFreeWithDevSync(void *pointer) { return rtFree(pointer); }

HCS_EXPORT rtError_t rtDvppMallocWithFlag(void **pointer, uint64_t bytes, uint32_t flag,
                                          uint16_t module) {
    (void)module;
    return allocate_for_media(pointer, bytes, flag);
}

HCS_EXPORT rtError_t rtDvppMalloc(void **pointer, uint64_t bytes, uint16_t module) {
    return rtDvppMallocWithFlag(pointer, bytes, 0, module);
}

HCS_EXPORT rtError_t rtDvppFree(void *pointer) { return rtFree(pointer); }

HCS_EXPORT rtError_t rtMemFreeManaged(void *pointer) { return rtFree(pointer); }

HCS_EXPORT rtError_t rtsMemMallocPhysical(void **handle, size_t bytes, int policy,
                                          struct allocation_config *config) {
    (void)policy;
    struct driver_properties properties = {.side = LOCATION_DEVICE,
                                           .device = (uint32_t)hcs_sim_card_number()};
    return is_of_current_card(config) ? rtMallocPhysical(handle, bytes, &properties, 0)
                                      : ACL_ERROR_RT_PARAM_INVALID;
}

HCS_EXPORT rtError_t rtsMemFreePhysical(void **handle) {
    return handle != NULL ? rtFreePhysical(*handle) : ACL_ERROR_RT_PARAM_INVALID;
}

HCS_EXPORT rtError_t rtsMemMap(void *address, size_t bytes, size_t offset, void *handle,
                               uint64_t flags) {
    return rtMapMem(address, bytes, offset, handle, flags);
}

HCS_EXPORT rtError_t rtsMemUnmap(void *address) { return rtUnmapMem(address); }

HCS_EXPORT rtError_t rtMemRetainAllocationHandle(void *address, void **handle) {
    uint64_t retained;
    bool known = handle != NULL && hcs_sim_handle_retain((uint64_t)(uintptr_t)address, &retained);
    if (known) {
        *handle = (void *)(uintptr_t)retained;
    }
    return done(known);
}

HCS_EXPORT rtError_t rtsMemGetInfo(int type, size_t *free_bytes, size_t *total_bytes) {
    return rtMemGetInfoEx(type, free_bytes, total_bytes);
}

HCS_EXPORT rtError_t rtsDeviceGetInfo(uint32_t device, int attribute, int64_t *value) {
    const struct hcs_sim_device *card = hcs_sim_card((int)device);
    if (card == NULL) {
        return ACL_ERROR_RT_INVALID_DEVICEID;
    }
    if (value == NULL || attribute != TOTAL_GLOBAL_MEMORY) {
        return ACL_ERROR_RT_PARAM_INVALID;
    }
    *value = (int64_t)card->vram_bytes;
    return ACL_SUCCESS;
}

/* Blocks that were freed stay in the pool until it is trimmed, or with it; there is no other
 * threshold than a pool's own end. */
HCS_EXPORT rtError_t rtMemPoolCreate(void **pool, const struct pool_properties *properties) {
    bool sane = pool != NULL && properties != NULL && properties->side == LOCATION_DEVICE;
    const struct hcs_sim_device *card = sane ? hcs_sim_card((int)properties->device) : NULL;
    if (card == NULL) {
        return ACL_ERROR_RT_PARAM_INVALID;
    }
    *pool = hcs_sim_pool_create(card, POOL_STEP_BYTES);
    return *pool != NULL ? ACL_SUCCESS : ACL_ERROR_RT_RESOURCE_ALLOC_FAIL;
}

/* With all that is still allocated from it. */
HCS_EXPORT rtError_t rtMemPoolDestroy(void *pool) {
    bool possible = hcs_sim_pool_destroy(pool);
    if (possible) {
        hcs_sim_blocks_free_context(pool);
    }
    return done(possible);
}

HCS_EXPORT rtError_t rtMemPoolGetAttr(void *pool, int attribute, void *value) {
    return done(hcs_sim_pool_attribute(pool, attribute, value));
}

HCS_EXPORT rtError_t rtMemPoolTrimTo(void *pool, uint64_t keep_bytes) {
    return done(hcs_sim_pool_trim(pool, keep_bytes));
}

HCS_EXPORT rtError_t rtMemPoolMallocAsync(void **pointer, uint64_t bytes, void *pool,
                                          void *stream) {
    if (pointer == NULL || pool == NULL || stream == NULL ||
        bytes > UINT64_MAX - POOL_STEP_BYTES) {
        return ACL_ERROR_RT_PARAM_INVALID;
    }
    uint64_t rounded = (bytes + POOL_STEP_BYTES - 1) / POOL_STEP_BYTES * POOL_STEP_BYTES;
    uint64_t address = hcs_sim_pool_allocate(pool, rounded);
    if (address == 0) {
        return ACL_ERROR_RT_MEMORY_ALLOCATION;
    }
    *pointer = (void *)(uintptr_t)address;
    return ACL_SUCCESS;
}

HCS_EXPORT rtError_t rtMemPoolFreeAsync(void *pointer, void *stream) {
    return stream != NULL ? rtFree(pointer) : ACL_ERROR_RT_PARAM_INVALID;
}

/* What is imported is the exporter's: nothing of a card is taken for it. */
HCS_EXPORT rtError_t rtIpcOpenMemory(void **pointer, const char *key) {
    static char imported;
    *pointer = &imported;
    return key != NULL ? ACL_SUCCESS : ACL_ERROR_RT_PARAM_INVALID;
}

HCS_EXPORT rtError_t rtMemImportFromShareableHandle(uint64_t exported, int32_t device,
                                                    void **handle) {
    *handle = (void *)(uintptr_t)exported;
    return device >= 0 ? ACL_SUCCESS : ACL_ERROR_RT_PARAM_INVALID;
}
