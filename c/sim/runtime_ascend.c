/* The simulated libruntime.so, the layer below libascendcl.so: names and numbers from CANN's
 * runtime/mem.h, dev.h and rt_error_codes.h. */
#include <stddef.h>
#include <stdint.h>

#include "blocks.h"
#include "card_work.h"
#include "pools.h"
#include "runtime_ascend.h"
#include "runtime_cards.h"
#include "runtime_handles.h"

#define ALIGNMENT_BYTES 32
#define PAGE_BYTES (4u << 10)
#define HUGE_PAGE_BYTES (2u << 20)
#define GIANT_PAGE_BYTES (1u << 30)
#define HUGE_PAGES_ABOVE_BYTES (1u << 20) /* unless the program wants others */

enum { SIDE_DEVICE = 1 };
enum { ATTACH_GLOBAL = 1 };
enum { GIANT_PAGES = 2 }; /* enum drv_mem_pg_type */

static unsigned times_set[HCS_SIM_DEVICES_MAX];

static void load(void) {
    hcs_sim_cards_load(HCS_SIM_HUAWEI, "ASCEND_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES");
}

HCS_EXPORT rtError_t rtGetDeviceCount(int32_t *count) {
    load();
    *count = (int32_t)hcs_sim_cards_count();
    return ACL_SUCCESS;
}

HCS_EXPORT rtError_t rtSetDevice(int32_t device) {
    load();
    if (hcs_sim_card(device) == NULL) {
        return ACL_ERROR_RT_INVALID_DEVICEID;
    }
    if (!hcs_sim_context_begin(hcs_sim_card(device), hcs_sim_card(device))) {
        return ACL_ERROR_RT_MEMORY_ALLOCATION;
    }
    __atomic_fetch_add(&times_set[device], 1, __ATOMIC_RELAXED);
    hcs_sim_card_choose(device);
    return ACL_SUCCESS;
}

HCS_EXPORT rtError_t rtGetDevice(int32_t *device) {
    if (device == NULL) {
        return ACL_ERROR_RT_PARAM_INVALID;
    }
    *device = hcs_sim_card_number();
    return *device >= 0 ? ACL_SUCCESS : ACL_ERROR_RT_CONTEXT_NULL;
}

/* As often as it was set: with the last reset the process loses what it holds of the device. */
HCS_EXPORT rtError_t rtDeviceReset(int32_t device) {
    if (device < 0 || device != hcs_sim_card_number()) {
        return ACL_ERROR_RT_INVALID_DEVICEID;
    }
    bool last = __atomic_sub_fetch(&times_set[device], 1, __ATOMIC_RELAXED) == 0;
    return last ? rtDeviceResetForce(device) : ACL_SUCCESS;
}

HCS_EXPORT rtError_t rtDeviceResetForce(int32_t device) {
    if (device < 0 || device != hcs_sim_card_number()) {
        return ACL_ERROR_RT_INVALID_DEVICEID;
    }
    __atomic_store_n(&times_set[device], 0, __ATOMIC_RELAXED);
    hcs_sim_blocks_free_context(hcs_sim_card(device));
    hcs_sim_pools_reset(hcs_sim_card(device));
    hcs_sim_work_end(hcs_sim_card(device));
    hcs_sim_card_choose(-1);
    return ACL_SUCCESS;
}

/* The runtime's own alignment, then the driver's, to whole pages; 0: there is no such size. (The
 * card is one pool of memory here, and never short of pages of one size only.) */
static uint64_t whole_pages(uint64_t bytes, uint64_t page_bytes) {
    uint64_t over = bytes % page_bytes;
    return bytes <= UINT64_MAX - page_bytes ? bytes + (over > 0 ? page_bytes - over : 0) : 0;
}

static uint64_t page_bytes_of(uint64_t bytes, uint32_t type) {
    switch (type & ~(uint32_t)(RT_MEMORY_POLICY_HUGE_PAGE_FIRST - 1)) {
    case RT_MEMORY_POLICY_HUGE_PAGE_ONLY:
    case RT_MEMORY_POLICY_HUGE_PAGE_ONLY_P2P:
        return HUGE_PAGE_BYTES;
    case RT_MEMORY_POLICY_DEFAULT_PAGE_ONLY:
    case RT_MEMORY_POLICY_DEFAULT_PAGE_ONLY_P2P:
        return PAGE_BYTES;
    case RT_MEMORY_POLICY_HUGE1G_PAGE_ONLY:
    case RT_MEMORY_POLICY_HUGE1G_PAGE_ONLY_P2P:
        return GIANT_PAGE_BYTES;
    default:
        return bytes > HUGE_PAGES_ABOVE_BYTES ? HUGE_PAGE_BYTES : PAGE_BYTES;
    }
}

/* HBM or DDR are the same here. */
HCS_EXPORT rtError_t rtMalloc(void **pointer, uint64_t bytes, uint32_t type, uint16_t module) {
    (void)module;
    const struct hcs_sim_device *card = hcs_sim_card_chosen();
    if (pointer == NULL || bytes == 0) {
        return ACL_ERROR_RT_PARAM_INVALID;
    }
    if (card == NULL) {
        return ACL_ERROR_RT_CONTEXT_NULL;
    }
    uint64_t aligned = whole_pages(bytes, ALIGNMENT_BYTES);
    uint64_t taken = whole_pages(aligned, page_bytes_of(aligned, type));
    uint64_t address = taken > 0 ? hcs_sim_block_allocate(card, taken, card) : 0;
    if (address == 0) {
        return ACL_ERROR_RT_MEMORY_ALLOCATION;
    }
    *pointer = (void *)(uintptr_t)address;
    return ACL_SUCCESS;
}

HCS_EXPORT rtError_t rtMallocCached(void **pointer, uint64_t bytes, uint32_t type,
                                    uint16_t module) {
    return rtMalloc(pointer, bytes, type, module);
}

/* Attached to all, it comes in huge pages. */
HCS_EXPORT rtError_t rtMemAllocManaged(void **pointer, uint64_t bytes, uint32_t flag,
                                       uint16_t module) {
    uint32_t type = flag == ATTACH_GLOBAL ? RT_MEMORY_POLICY_HUGE_PAGE_ONLY : 0;
    return rtMalloc(pointer, bytes, type, module);
}

HCS_EXPORT rtError_t rtFree(void *pointer) {
    bool freed = pointer != NULL && hcs_sim_block_free((uint64_t)(uintptr_t)pointer);
    return freed ? ACL_SUCCESS : ACL_ERROR_RT_PARAM_INVALID;
}

HCS_EXPORT rtError_t rtMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    const struct hcs_sim_device *card = hcs_sim_card_chosen();
    if (free_bytes == NULL || total_bytes == NULL) {
        return ACL_ERROR_RT_PARAM_INVALID;
    }
    if (card == NULL) {
        return ACL_ERROR_RT_CONTEXT_NULL;
    }
    *free_bytes = hcs_sim_memory_free(card);
    *total_bytes = card->vram_bytes;
    return ACL_SUCCESS;
}

HCS_EXPORT rtError_t rtMemGetInfoEx(int type, size_t *free_bytes, size_t *total_bytes) {
    bool hbm = type == ACL_HBM_MEM || type == ACL_HBM_MEM_HUGE || type == ACL_HBM_MEM_NORMAL;
    /* The 910B has no DDR of its own. */
    return hbm ? rtMemGetInfo(free_bytes, total_bytes) : ACL_ERROR_RT_FEATURE_NOT_SUPPORT;
}

HCS_EXPORT rtError_t rtMallocPhysical(void **handle, size_t bytes,
                                      struct driver_properties *properties, uint64_t flags) {
    (void)flags;
    if (handle == NULL || properties == NULL || bytes == 0 || properties->side != SIDE_DEVICE ||
        properties->page_type > GIANT_PAGES) {
        return ACL_ERROR_RT_PARAM_INVALID;
    }
    const struct hcs_sim_device *card = hcs_sim_card((int)properties->device);
    if (card == NULL) {
        return ACL_ERROR_RT_INVALID_DEVICEID;
    }
    bool giant = properties->page_type == GIANT_PAGES; /* on a card all others are huge */
    uint64_t taken = whole_pages(bytes, giant ? GIANT_PAGE_BYTES : HUGE_PAGE_BYTES);
    *handle = (void *)(uintptr_t)(taken > 0 ? hcs_sim_handle_create(card, taken, NULL) : 0);
    return *handle != NULL ? ACL_SUCCESS : ACL_ERROR_RT_MEMORY_ALLOCATION;
}

static rtError_t done(bool possible) { return possible ? ACL_SUCCESS : ACL_ERROR_RT_PARAM_INVALID; }

HCS_EXPORT rtError_t rtFreePhysical(void *handle) {
    return done(hcs_sim_handle_release((uint64_t)(uintptr_t)handle));
}

HCS_EXPORT rtError_t rtReserveMemAddress(void **address, size_t bytes, size_t alignment,
                                         void *wanted, uint64_t flags) {
    (void)alignment;
    (void)wanted;
    (void)flags;
    *address = (void *)(uintptr_t)hcs_sim_addresses_reserve(bytes);
    return ACL_SUCCESS;
}

HCS_EXPORT rtError_t rtMapMem(void *address, size_t bytes, size_t offset, void *handle,
                              uint64_t flags) {
    (void)offset;
    (void)flags;
    return done(hcs_sim_handle_map((uint64_t)(uintptr_t)address, bytes,
                                   (uint64_t)(uintptr_t)handle));
}

HCS_EXPORT rtError_t rtMemMapNoAccess(void *address, size_t bytes, size_t offset, void *handle,
                                      uint64_t flags) {
    return rtMapMem(address, bytes, offset, handle, flags);
}

HCS_EXPORT rtError_t rtUnmapMem(void *address) {
    return done(hcs_sim_handle_unmap((uint64_t)(uintptr_t)address, 0));
}
