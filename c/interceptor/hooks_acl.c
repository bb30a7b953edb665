/* Ascend: the aclrt layer of libascendcl.so, and the rt layer of libruntime.so below it. What comes
 * from pools, and all that frees, is in hooks_acl_pools.c. */
#include "hooks_acl.h"
#include "pools.h"

const struct hcs_library hcs_acl_library = {{"libascendcl.so", "libacl_rt.so"}};
const struct hcs_library hcs_acl_runtime_library = {{"libruntime.so"}};
#define LIBRARY hcs_acl_library

#define ALIGNMENT_BYTES 32 /* aclrtMalloc adds this much and rounds up to a multiple of it */
#define HUGE_PAGE_BYTES (UINT64_C(2) << 20)

HCS_CALLED(aclrtGetDevice);

/* (Cards have ids of their own here, but the runtime tells them only in its newest versions.) */
static int find_card(int device) {
    return hcs_cards_listed("ASCEND_RT_VISIBLE_DEVICES", device);
}

static struct hcs_cards cards = {.find = find_card};

static int card_of(int (*get_device)(int32_t *)) {
    int32_t device;
    bool known = get_device != NULL && get_device(&device) == 0;
    return known ? hcs_cards_position(&cards, device) : -1;
}

static int current_card(void) { return card_of(hcs_real(&find_aclrtGetDevice)); }

int hcs_acl_card(int device) { return hcs_cards_position(&cards, device); }

static hcs_charge on_card(int card, uint64_t bytes) {
    hcs_pools_make_room(card, bytes);
    return hcs_reserve(card, bytes);
}

static hcs_charge aligned(uint64_t bytes) {
    return on_card(current_card(), hcs_round_up(bytes, ALIGNMENT_BYTES));
}

static hcs_charge padded(uint64_t bytes) {
    return aligned(bytes > UINT64_MAX - ALIGNMENT_BYTES ? bytes : bytes + ALIGNMENT_BYTES);
}

HCS_ALLOCATION(aclrtMalloc, (void **pointer, size_t bytes, int policy), (pointer, bytes, policy),
               padded(bytes), HCS_KEY(*pointer));
HCS_ALLOCATION(aclrtMallocAlign32, (void **pointer, size_t bytes, int policy),
               (pointer, bytes, policy), aligned(bytes), HCS_KEY(*pointer));
HCS_ALLOCATION(aclrtMallocCached, (void **pointer, size_t bytes, int policy),
               (pointer, bytes, policy), padded(bytes), HCS_KEY(*pointer));
/* With settings nothing is added to the size; the card that they may name must be the current. */
HCS_ALLOCATION(aclrtMallocWithCfg, (void **pointer, size_t bytes, int policy, void *settings),
               (pointer, bytes, policy, settings), aligned(bytes), HCS_KEY(*pointer));
HCS_ALLOCATION(aclrtMallocForTaskScheduler,
               (void **pointer, size_t bytes, int policy, void *settings),
               (pointer, bytes, policy, settings), aligned(bytes), HCS_KEY(*pointer));
HCS_ALLOCATION(aclrtMemAllocManaged, (void **pointer, uint64_t bytes, uint32_t flag),
               (pointer, bytes, flag),
               on_card(current_card(), hcs_round_up(bytes, HUGE_PAGE_BYTES)), HCS_KEY(*pointer));

struct physical_properties { /* aclrtPhysicalMemProp */
    int handle_type, allocation_type, attribute;
    uint32_t location_id;
    int location_type;
    uint64_t reserve;
};
enum { LOCATION_DEVICE = 1 };

static hcs_charge at_location(const struct physical_properties *properties, size_t bytes) {
    bool on_a_card = properties != NULL && properties->location_type == LOCATION_DEVICE;
    int device = on_a_card ? (int)properties->location_id : -1;
    return on_card(hcs_acl_card(device), bytes);
}

typedef void *HANDLE;
HCS_ALLOCATION(aclrtMallocPhysical,
               (HANDLE * handle, size_t bytes, const struct physical_properties *properties,
                uint64_t flags),
               (handle, bytes, properties, flags), at_location(properties, bytes),
               hcs_handle_created(HCS_KEY(*handle)));
HCS_MAPS(aclrtMapMem, void *);
HCS_AROUND(aclrtUnmapMem, (void *address), (address),
           struct hcs_unmapped unmapped = hcs_handle_unmap(HCS_KEY(address), 0),
           hcs_handle_give_back(&unmapped));
HCS_AFTER(aclrtMemRetainAllocationHandle, (void *address, HANDLE *handle), (address, handle),
          hcs_handle_retained(HCS_KEY(*handle)));
HCS_RELEASES(aclrtFreePhysical);

HCS_AFTER(aclrtGetMemInfo, (int attribute, size_t *free_bytes, size_t *total_bytes),
          (attribute, free_bytes, total_bytes),
          hcs_show_quota(current_card(), free_bytes, total_bytes));

enum { TOTAL_GLOBAL_MEMORY = 301 };

static void show_total(uint32_t device, int attribute, int64_t *value) {
    if (attribute == TOTAL_GLOBAL_MEMORY && value != NULL) {
        uint64_t bytes = (uint64_t)*value;
        hcs_show_quota(hcs_acl_card((int)device), NULL, &bytes);
        *value = (int64_t)bytes;
    }
}

HCS_AFTER(aclrtGetDeviceInfo, (uint32_t device, int attribute, int64_t *value),
          (device, attribute, value), show_total(device, attribute, value));

/* The runtime counts how often a device was set, in both layers together, and lets go of what the
 * process holds of it with the last reset. */
static unsigned times_set[HCS_CARDS_MAX];

static void was_set(int32_t device) {
    if (device >= 0 && device < HCS_CARDS_MAX) {
        __atomic_fetch_add(&times_set[device], 1, __ATOMIC_RELAXED);
    }
}

static void was_reset(int32_t device, bool at_once) {
    if (device < 0 || device >= HCS_CARDS_MAX) {
        return;
    }
    unsigned times = __atomic_load_n(&times_set[device], __ATOMIC_RELAXED), left;
    do {
        left = at_once || times == 0 ? 0 : times - 1;
    } while (!__atomic_compare_exchange_n(&times_set[device], &times, left, false,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    if (left == 0) {
        hcs_ended(hcs_acl_card(device), 0);
        hcs_pools_ended(hcs_acl_card(device));
    }
}

/* The events go before the device does. */
static void will_be_reset(int32_t device, bool at_once) {
    bool known = device >= 0 && device < HCS_CARDS_MAX;
    if (known && (at_once || __atomic_load_n(&times_set[device], __ATOMIC_RELAXED) <= 1)) {
        hcs_share_ended((unsigned)hcs_acl_card(device) + 1);
    }
}

HCS_AFTER(aclrtSetDevice, (int32_t device), (device), was_set(device));
HCS_AROUND(aclrtResetDevice, (int32_t device), (device), will_be_reset(device, false),
           was_reset(device, false));
HCS_AROUND(aclrtResetDeviceForce, (int32_t device), (device), will_be_reset(device, true),
           was_reset(device, true));

/* The layer below: sizes arrive there as they are, padded already where aclrt pads. */
#undef LIBRARY
#define LIBRARY hcs_acl_runtime_library

HCS_CALLED(rtGetDevice);

int hcs_acl_runtime_card(void) { return card_of(hcs_real(&find_rtGetDevice)); }

static hcs_charge as_it_is(uint64_t bytes) { return on_card(hcs_acl_runtime_card(), bytes); }

static hcs_charge aligned_below(uint64_t bytes) {
    return as_it_is(hcs_round_up(bytes, ALIGNMENT_BYTES));
}

enum { ATTACH_GLOBAL = 1 }; /* in huge pages */

static hcs_charge managed(uint64_t bytes, uint32_t flag) {
    return as_it_is(flag == ATTACH_GLOBAL ? hcs_round_up(bytes, HUGE_PAGE_BYTES) : bytes);
}

HCS_ALLOCATION(rtMalloc, (void **pointer, uint64_t bytes, uint32_t type, uint16_t module),
               (pointer, bytes, type, module), as_it_is(bytes), HCS_KEY(*pointer));
HCS_ALLOCATION(rtMallocCached, (void **pointer, uint64_t bytes, uint32_t type, uint16_t module),
               (pointer, bytes, type, module), as_it_is(bytes), HCS_KEY(*pointer));
HCS_ALLOCATION(rtMemAllocManaged, (void **pointer, uint64_t bytes, uint32_t flag, uint16_t module),
               (pointer, bytes, flag, module), managed(bytes, flag), HCS_KEY(*pointer));
HCS_ALLOCATION(rtMemAlloc,
               (void **pointer, uint64_t bytes, int policy, int advice, void *settings),
               (pointer, bytes, policy, advice, settings), aligned_below(bytes),
               HCS_KEY(*pointer));
HCS_ALLOCATION(rtsMalloc,
               (void **pointer, uint64_t bytes, int policy, int advice, void *settings),
               (pointer, bytes, policy, advice, settings), aligned_below(bytes),
               HCS_KEY(*pointer));
HCS_ALLOCATION(rtDvppMalloc, (void **pointer, uint64_t bytes, uint16_t module),
               (pointer, bytes, module), aligned_below(bytes), HCS_KEY(*pointer));
HCS_ALLOCATION(rtDvppMallocWithFlag,
               (void **pointer, uint64_t bytes, uint32_t flag, uint16_t module),
               (pointer, bytes, flag, module), aligned_below(bytes), HCS_KEY(*pointer));

struct driver_properties { /* rtDrvMemProp_t */
    uint32_t side, device, module, page_type, memory_type;
    uint64_t reserve;
};
enum { SIDE_DEVICE = 1 };

static hcs_charge at_side(const struct driver_properties *properties, size_t bytes) {
    bool on_a_card = properties != NULL && properties->side == SIDE_DEVICE;
    return on_card(hcs_acl_card(on_a_card ? (int)properties->device : -1), bytes);
}

HCS_ALLOCATION(rtMallocPhysical,
               (HANDLE * handle, size_t bytes, struct driver_properties *properties,
                uint64_t flags),
               (handle, bytes, properties, flags), at_side(properties, bytes),
               hcs_handle_created(HCS_KEY(*handle)));
HCS_MAPS(rtMapMem, void *);
HCS_AROUND(rtUnmapMem, (void *address), (address),
           struct hcs_unmapped unmapped = hcs_handle_unmap(HCS_KEY(address), 0),
           hcs_handle_give_back(&unmapped));
HCS_AFTER(rtMemRetainAllocationHandle, (void *address, HANDLE *handle), (address, handle),
          hcs_handle_retained(HCS_KEY(*handle)));
HCS_RELEASES(rtFreePhysical);

/* The same by other names; always on the current card. */
HCS_ALLOCATION(rtsMemMallocPhysical,
               (HANDLE * handle, size_t bytes, int policy, void *settings),
               (handle, bytes, policy, settings), as_it_is(bytes),
               hcs_handle_created(HCS_KEY(*handle)));
HCS_MAPS(rtsMemMap, void *);
HCS_AROUND(rtsMemUnmap, (void *address), (address),
           struct hcs_unmapped unmapped = hcs_handle_unmap(HCS_KEY(address), 0),
           hcs_handle_give_back(&unmapped));
static uint64_t key_at(const HANDLE *handle) { return handle != NULL ? HCS_KEY(*handle) : 0; }
HCS_FREE(rtsMemFreePhysical, (HANDLE * handle), (handle), hcs_handle_release(key_at(handle)),
         key_at(handle));

HCS_AFTER(rtsMemGetInfo, (int type, size_t *free_bytes, size_t *total_bytes),
          (type, free_bytes, total_bytes),
          hcs_show_quota(hcs_acl_runtime_card(), free_bytes, total_bytes));
HCS_AFTER(rtsDeviceGetInfo, (uint32_t device, int attribute, int64_t *value),
          (device, attribute, value), show_total(device, attribute, value));
HCS_AFTER(rtMemGetInfo, (size_t *free_bytes, size_t *total_bytes), (free_bytes, total_bytes),
          hcs_show_quota(hcs_acl_runtime_card(), free_bytes, total_bytes));
HCS_AFTER(rtMemGetInfoEx, (int type, size_t *free_bytes, size_t *total_bytes),
          (type, free_bytes, total_bytes),
          hcs_show_quota(hcs_acl_runtime_card(), free_bytes, total_bytes));
HCS_AFTER(rtSetDevice, (int32_t device), (device), was_set(device));
HCS_AROUND(rtDeviceReset, (int32_t device), (device), will_be_reset(device, false),
           was_reset(device, false));
HCS_AROUND(rtDeviceResetForce, (int32_t device), (device), will_be_reset(device, true),
           was_reset(device, true));
