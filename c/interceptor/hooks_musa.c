/* Moore Threads: the runtime, libmusart.so, and the driver below it, libmusa.so. */
#include "hooks.h"

enum { MUSA_ERROR_OUT_OF_MEMORY = 2, MUSA_ERROR_NOT_INITIALIZED = 3 };
static const struct hcs_library musart_library = {
    {"libmusart.so.5", "libmusart.so.4", "libmusart.so"}};
static const struct hcs_library musa_library = {
    {"libmusa.so.5", "libmusa.so.4", "libmusa.so.1", "libmusa.so"}};
#define LIBRARY musart_library
#define OUT_OF_MEMORY MUSA_ERROR_OUT_OF_MEMORY
#define NOT_THERE MUSA_ERROR_NOT_INITIALIZED

#define GRANULARITY_BYTES 512 /* what the driver really hands out is a multiple of this */

static int find_card(int device) { return hcs_cards_listed("MUSA_VISIBLE_DEVICES", device); }

static struct hcs_cards cards = {.find = find_card};

static int card_of(int (*get_device)(int *)) {
    int device;
    bool known = get_device != NULL && get_device(&device) == 0;
    return known ? hcs_cards_position(&cards, device) : -1;
}

HCS_CALLED(musaGetDevice);

static int runtime_card(void) { return card_of(hcs_real(&find_musaGetDevice)); }

static hcs_charge on_runtime_card(uint64_t bytes) {
    return hcs_reserve(runtime_card(), hcs_round_up(bytes, GRANULARITY_BYTES));
}

static hcs_charge in_rows(size_t width, size_t height) {
    return on_runtime_card(hcs_product(hcs_round_up(width, GRANULARITY_BYTES), height));
}

HCS_ALLOCATION(musaMalloc, (void **pointer, size_t bytes), (pointer, bytes),
               on_runtime_card(bytes), HCS_KEY(*pointer));
HCS_ALLOCATION(musaMallocManaged, (void **pointer, size_t bytes, unsigned flags),
               (pointer, bytes, flags), on_runtime_card(bytes), HCS_KEY(*pointer));
HCS_ALLOCATION(musaMallocPitch, (void **pointer, size_t *pitch, size_t width, size_t height),
               (pointer, pitch, width, height), in_rows(width, height), HCS_KEY(*pointer));
HCS_ALLOCATION(musaMallocAsync, (void **pointer, size_t bytes, void *stream),
               (pointer, bytes, stream), on_runtime_card(bytes), HCS_KEY(*pointer));
HCS_FREE(musaFree, (void *pointer), (pointer), hcs_take(HCS_KEY(pointer)), HCS_KEY(pointer));
HCS_FREE(musaFreeAsync, (void *pointer, void *stream), (pointer, stream),
         hcs_take(HCS_KEY(pointer)), HCS_KEY(pointer));
HCS_AFTER(musaMemGetInfo, (size_t *free_bytes, size_t *total_bytes), (free_bytes, total_bytes),
          hcs_show_quota(runtime_card(), free_bytes, total_bytes));
HCS_AROUND(musaDeviceReset, (void), (), int card = runtime_card(), hcs_ended(card, 0));

/* The layer below. */
#undef LIBRARY
#define LIBRARY musa_library

HCS_CALLED(muCtxGetDevice);

static int driver_card(void) { return card_of(hcs_real(&find_muCtxGetDevice)); }

static hcs_charge on_driver_card(uint64_t bytes) {
    return hcs_reserve(driver_card(), hcs_round_up(bytes, GRANULARITY_BYTES));
}

struct memory_location { /* the part of MUmemAllocationProp that says where */
    int allocation_type, handle_types;
    int location_type, location_id;
};
enum { LOCATION_DEVICE = 1 };

static hcs_charge at_location(const struct memory_location *location, size_t bytes) {
    bool on_a_card = location != NULL && location->location_type == LOCATION_DEVICE;
    return hcs_reserve(on_a_card ? hcs_cards_position(&cards, location->location_id) : -1, bytes);
}

HCS_ALLOCATION(muMemAlloc_v2, (uint64_t *pointer, size_t bytes), (pointer, bytes),
               on_driver_card(bytes), *pointer);
HCS_ALLOCATION(muMemAllocManaged, (uint64_t *pointer, size_t bytes, unsigned flags),
               (pointer, bytes, flags), on_driver_card(bytes), *pointer);
HCS_FREE(muMemFree_v2, (uint64_t pointer), (pointer), hcs_take(pointer), pointer);

typedef uint64_t HANDLE;
HCS_ALLOCATION(muMemCreate,
               (HANDLE * handle, size_t bytes, const struct memory_location *location,
                uint64_t flags),
               (handle, bytes, location, flags), at_location(location, bytes),
               hcs_handle_created(*handle));
HCS_MAPS(muMemMap, uint64_t);
HCS_UNMAPS(muMemUnmap, uint64_t);
HCS_RELEASES(muMemRelease);

HCS_AFTER(muMemGetInfo_v2, (size_t *free_bytes, size_t *total_bytes), (free_bytes, total_bytes),
          hcs_show_quota(driver_card(), free_bytes, total_bytes));
HCS_AFTER(muDeviceTotalMem_v2, (size_t *bytes, int device), (bytes, device),
          hcs_show_quota(hcs_cards_position(&cards, device), NULL, bytes));
HCS_AFTER(muDevicePrimaryCtxReset_v2, (int device), (device),
          hcs_ended(hcs_cards_position(&cards, device), 0));
