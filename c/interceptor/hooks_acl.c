/* Ascend: the aclrt layer of libascendcl.so, and the rt layer of libruntime.so below it. What comes
 * from pools, and all that frees, is in hooks_acl_pools.c. */
#include "hooks_acl.h"
#include "pools.h"

const struct hcs_library hcs_acl_library = {{"libascendcl.so", "libacl_rt.so"}};
const struct hcs_library hcs_acl_runtime_library = {{"libruntime.so"}};
#define LIBRARY hcs_acl_library

#define PADDING_BYTES 32 /* what aclrtMalloc adds, before all else */

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

static hcs_charge behind_handle(int card, uint64_t bytes) {
    hcs_pools_make_room(card, bytes);
    return hcs_reserve_in(card, HCS_CONTEXT_NONE, bytes);
}

/* What a block takes of its card is whole pages: small or huge ones as the program wants them, and
 * where it leaves that open, huge ones for all that is larger than SMALL_BYTES_MAX. (Are there none
 * left, the runtime takes small ones, and we charge more than it takes.) */
enum pages { BY_SIZE, SMALL = 12, HUGE = 21, GIANT = 30 }; /* the bits of an address within one */
#define SMALL_BYTES_MAX (UINT64_C(1) << 20)

static uint64_t in_pages(uint64_t bytes, enum pages pages) {
    unsigned by_size = bytes > SMALL_BYTES_MAX ? HUGE : SMALL;
    return hcs_round_up(bytes, UINT64_C(1) << (pages == BY_SIZE ? by_size : pages));
}

static enum pages by_policy(int policy) {
    static const uint8_t pages[] = {BY_SIZE, HUGE, SMALL, BY_SIZE, HUGE, SMALL, GIANT, GIANT};
    bool known = policy >= 0 && (size_t)policy < sizeof pages / sizeof *pages;
    return known ? pages[policy] : BY_SIZE;
}

/* Where the policy may be joined by what says which memory it is to be. */
enum { POLICY_BITS = 0xff };

static hcs_charge on_current(uint64_t bytes, enum pages pages) {
    return on_card(current_card(), in_pages(bytes, pages));
}

/* (Pages of 1 GiB are too dear to begin another one for it. The runtime refuses what overflows.) */
static hcs_charge padded(uint64_t bytes, enum pages pages) {
    return on_current(pages == GIANT ? bytes : bytes + PADDING_BYTES, pages);
}

HCS_ALLOCATION(aclrtMalloc, (void **pointer, size_t bytes, int policy), (pointer, bytes, policy),
               padded(bytes, by_policy(policy)), HCS_KEY(*pointer));
HCS_ALLOCATION(aclrtMallocAlign32, (void **pointer, size_t bytes, int policy),
               (pointer, bytes, policy), on_current(bytes, by_policy(policy)), HCS_KEY(*pointer));
HCS_ALLOCATION(aclrtMallocCached, (void **pointer, size_t bytes, int policy),
               (pointer, bytes, policy), padded(bytes, by_policy(policy)), HCS_KEY(*pointer));
/* With settings nothing is added to the size; the card that they may name must be the current. */
HCS_ALLOCATION(aclrtMallocWithCfg, (void **pointer, size_t bytes, int policy, void *settings),
               (pointer, bytes, policy, settings),
               on_current(bytes, by_policy(policy & POLICY_BITS)), HCS_KEY(*pointer));
HCS_ALLOCATION(aclrtMallocForTaskScheduler,
               (void **pointer, size_t bytes, int policy, void *settings),
               (pointer, bytes, policy, settings),
               on_current(bytes, by_policy(policy & POLICY_BITS)), HCS_KEY(*pointer));
HCS_ALLOCATION(aclrtMemAllocManaged, (void **pointer, uint64_t bytes, uint32_t flag),
               (pointer, bytes, flag), on_current(bytes, HUGE), HCS_KEY(*pointer));

struct physical_properties { /* aclrtPhysicalMemProp */
    int handle_type, allocation_type, attribute;
    uint32_t location_id;
    int location_type;
    uint64_t reserve;
};
enum { LOCATION_DEVICE = 1 };
enum { HBM_GIANT = 10, HBM_P2P_GIANT = 11, ANY_GIANT = 14, ANY_P2P_GIANT = 17 };

/* Behind a handle there are no small pages, whatever was asked for. */
static enum pages by_attribute(int attribute) {
    bool giant = attribute == HBM_GIANT || attribute == HBM_P2P_GIANT || attribute == ANY_GIANT ||
                 attribute == ANY_P2P_GIANT;
    return giant ? GIANT : HUGE;
}

static hcs_charge at_location(const struct physical_properties *properties, size_t bytes) {
    bool on_a_card = properties != NULL && properties->location_type == LOCATION_DEVICE;
    int device = on_a_card ? (int)properties->location_id : -1;
    enum pages pages = on_a_card ? by_attribute(properties->attribute) : BY_SIZE;
    return behind_handle(hcs_acl_card(device), in_pages(bytes, pages));
}

typedef void *HANDLE;
HCS_ALLOCATION(aclrtMallocPhysical,
               (HANDLE * handle, size_t bytes, const struct physical_properties *properties,
                uint64_t flags),
               (handle, bytes, properties, flags), at_location(properties, bytes),
               hcs_handle_created(HCS_KEY(*handle)));
HCS_MAPS(aclrtMapMem, void *);
HCS_MAPS(aclrtMemMapNoAccess, void *);
HCS_UNMAPS_RANGE(aclrtUnmapMem, (void *address), (address), 0);
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

/* The layer below: sizes are padded already where aclrt pads. */
#undef LIBRARY
#define LIBRARY hcs_acl_runtime_library

HCS_CALLED(rtGetDevice);

int hcs_acl_runtime_card(void) { return card_of(hcs_real(&find_rtGetDevice)); }

static hcs_charge on_current_below(uint64_t bytes, enum pages pages) {
    return on_card(hcs_acl_runtime_card(), in_pages(bytes, pages));
}

enum { /* bits of rtMemType_t; with what is for copies between cards (_P2P) */
    TYPE_HUGE = 0x800 | 0x4000,
    TYPE_SMALL = 0x1000 | 0x8000,
    TYPE_GIANT = 0x10000 | 0x20000,
};

static enum pages by_type(uint32_t type) {
    if ((type & TYPE_GIANT) != 0) {
        return GIANT;
    }
    enum pages open = (type & TYPE_SMALL) != 0 ? SMALL : BY_SIZE;
    return (type & TYPE_HUGE) != 0 ? HUGE : open;
}

/* The media units have huge pages only. */
static enum pages of_media(uint32_t type) { return (type & TYPE_GIANT) != 0 ? GIANT : HUGE; }

enum { ADVICE_MEDIA = 1 };

static hcs_charge advised(uint64_t bytes, int policy, int advice) {
    enum pages pages = by_policy(policy & POLICY_BITS);
    bool huge = advice == ADVICE_MEDIA && pages != GIANT;
    return on_current_below(bytes, huge ? HUGE : pages);
}

enum { ATTACH_GLOBAL = 1 };

HCS_ALLOCATION(rtMalloc, (void **pointer, uint64_t bytes, uint32_t type, uint16_t module),
               (pointer, bytes, type, module), on_current_below(bytes, by_type(type)),
               HCS_KEY(*pointer));
HCS_ALLOCATION(rtMallocCached, (void **pointer, uint64_t bytes, uint32_t type, uint16_t module),
               (pointer, bytes, type, module), on_current_below(bytes, by_type(type)),
               HCS_KEY(*pointer));
HCS_ALLOCATION(rtMemAllocManaged, (void **pointer, uint64_t bytes, uint32_t flag, uint16_t module),
               (pointer, bytes, flag, module),
               on_current_below(bytes, flag == ATTACH_GLOBAL ? HUGE : BY_SIZE),
               HCS_KEY(*pointer));
HCS_ALLOCATION(rtMemAlloc,
               (void **pointer, uint64_t bytes, int policy, int advice, void *settings),
               (pointer, bytes, policy, advice, settings), advised(bytes, policy, advice),
               HCS_KEY(*pointer));
HCS_ALLOCATION(rtsMalloc,
               (void **pointer, uint64_t bytes, int policy, int advice, void *settings),
               (pointer, bytes, policy, advice, settings), advised(bytes, policy, advice),
               HCS_KEY(*pointer));
HCS_ALLOCATION(rtDvppMalloc, (void **pointer, uint64_t bytes, uint16_t module),
               (pointer, bytes, module), on_current_below(bytes, HUGE), HCS_KEY(*pointer));
HCS_ALLOCATION(rtDvppMallocWithFlag,
               (void **pointer, uint64_t bytes, uint32_t flag, uint16_t module),
               (pointer, bytes, flag, module), on_current_below(bytes, of_media(flag)),
               HCS_KEY(*pointer));

struct driver_properties { /* rtDrvMemProp_t */
    uint32_t side, device, module, page_type, memory_type;
    uint64_t reserve;
};
enum { SIDE_DEVICE = 1, GIANT_PAGES = 2 };

static hcs_charge at_side(const struct driver_properties *properties, size_t bytes) {
    bool on_a_card = properties != NULL && properties->side == SIDE_DEVICE;
    bool giant = on_a_card && properties->page_type == GIANT_PAGES;
    return behind_handle(hcs_acl_card(on_a_card ? (int)properties->device : -1),
                         in_pages(bytes, giant ? GIANT : HUGE));
}

HCS_ALLOCATION(rtMallocPhysical,
               (HANDLE * handle, size_t bytes, struct driver_properties *properties,
                uint64_t flags),
               (handle, bytes, properties, flags), at_side(properties, bytes),
               hcs_handle_created(HCS_KEY(*handle)));
HCS_MAPS(rtMapMem, void *);
HCS_MAPS(rtMemMapNoAccess, void *);
HCS_UNMAPS_RANGE(rtUnmapMem, (void *address), (address), 0);
HCS_AFTER(rtMemRetainAllocationHandle, (void *address, HANDLE *handle), (address, handle),
          hcs_handle_retained(HCS_KEY(*handle)));
HCS_RELEASES(rtFreePhysical);

/* The same by other names; always on the current card. */
HCS_ALLOCATION(rtsMemMallocPhysical,
               (HANDLE * handle, size_t bytes, int policy, void *settings),
               (handle, bytes, policy, settings),
               behind_handle(hcs_acl_runtime_card(), in_pages(bytes, HUGE)),
               hcs_handle_created(HCS_KEY(*handle)));
HCS_MAPS(rtsMemMap, void *);
HCS_UNMAPS_RANGE(rtsMemUnmap, (void *address), (address), 0);
static uint64_t key_at(const HANDLE *handle) { return handle != NULL ? HCS_KEY(*handle) : 0; }
HCS_HOOKED(rtsMemFreePhysical, (HANDLE * handle), (handle),
    uint64_t key = key_at(handle);
    hcs_charge charge = hcs_handle_release(key);
    int result = real(handle);
    if (result == 0) {
        hcs_settle(charge, 0);
    } else {
        hcs_handle_not_released(key, charge);
    }
);

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
