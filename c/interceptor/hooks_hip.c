/* HIP, AMD's and Hygon's: frameworks link with it, and it goes to the hardware by itself. Pools and
 * graphs are in hooks_hip_pools.c, launches in hooks_hip_work.c. */
#include "arrays.h"
#include "hooks_hip.h"
#include "pools.h"

const struct hcs_library hcs_hip_library = {
    {"libgalaxyhip.so.5", "libgalaxyhip.so", "libamdhip64.so.7", "libamdhip64.so.6",
     "libamdhip64.so.5", "libamdhip64.so"}};

#define GRANULARITY_BYTES 4096 /* a page of the card, which is what the driver hands out */
#define PITCH_BYTES 256

HCS_CALLED(hipGetDevice);

static int find_card(int device) { return hcs_cards_ranked("HIP_VISIBLE_DEVICES", device); }

struct hcs_cards hcs_hip_cards = {.find = find_card};

int hcs_hip_current_card(void) {
    int (*get_device)(int *) = hcs_real(&find_hipGetDevice);
    int device;
    bool known = get_device != NULL && get_device(&device) == 0;
    return known ? hcs_cards_position(&hcs_hip_cards, device) : -1;
}

static hcs_charge paged(uint64_t bytes) {
    int card = hcs_hip_current_card();
    bytes = hcs_round_up(bytes, GRANULARITY_BYTES);
    hcs_pools_make_room(card, bytes);
    return hcs_reserve(card, bytes);
}

static hcs_charge in_rows(size_t width, size_t height, size_t depth) {
    uint64_t rows = hcs_product(height, depth);
    return paged(hcs_product(hcs_round_up(width, PITCH_BYTES), rows));
}

HCS_ALLOCATION(hipMalloc, (void **pointer, size_t bytes), (pointer, bytes), paged(bytes),
               HCS_KEY(*pointer));
HCS_ALLOCATION(hipExtMallocWithFlags, (void **pointer, size_t bytes, unsigned flags),
               (pointer, bytes, flags), paged(bytes), HCS_KEY(*pointer));
HCS_ALLOCATION(hipMallocManaged, (void **pointer, size_t bytes, unsigned flags),
               (pointer, bytes, flags), paged(bytes), HCS_KEY(*pointer));
HCS_ALLOCATION(hipMallocPitch, (void **pointer, size_t *pitch, size_t width, size_t height),
               (pointer, pitch, width, height), in_rows(width, height, 1), HCS_KEY(*pointer));
HCS_ALLOCATION(hipMemAllocPitch,
               (void **pointer, size_t *pitch, size_t width, size_t height, unsigned element),
               (pointer, pitch, width, height, element), in_rows(width, height, 1),
               HCS_KEY(*pointer));

struct pitched_pointer { /* hipPitchedPtr */
    void *pointer;
    size_t pitch, width, height;
};
HCS_ALLOCATION(hipMalloc3D, (struct pitched_pointer * pitched, struct hcs_array_extent extent),
               (pitched, extent), in_rows(extent.width, extent.height, extent.depth),
               HCS_KEY(pitched->pointer));

struct channels { /* hipChannelFormatDesc */
    int x, y, z, w, kind; /* bits */
};

static hcs_charge for_array(const struct channels *channels, struct hcs_array_extent extent,
                            unsigned levels) {
    int bits = channels != NULL ? channels->x + channels->y + channels->z + channels->w : 0;
    return paged(hcs_array_bytes(extent, bits > 0 ? (uint64_t)bits / 8 : 0, levels));
}

/* Arrays as the runtime describes them, and as the driver does. */
HCS_ALLOCATION(hipMallocArray,
               (void **array, const struct channels *channels, size_t width, size_t height,
                unsigned flags),
               (array, channels, width, height, flags),
               for_array(channels, (struct hcs_array_extent){width, height, 0}, 1),
               HCS_KEY(*array));
HCS_ALLOCATION(hipMalloc3DArray,
               (void **array, const struct channels *channels, struct hcs_array_extent extent,
                unsigned flags),
               (array, channels, extent, flags), for_array(channels, extent, 1),
               HCS_KEY(*array));
HCS_ALLOCATION(hipMallocMipmappedArray,
               (void **array, const struct channels *channels, struct hcs_array_extent extent,
                unsigned levels, unsigned flags),
               (array, channels, extent, levels, flags), for_array(channels, extent, levels),
               HCS_KEY(*array));
HCS_ALLOCATION(hipArrayCreate, (void **array, const struct hcs_array_descriptor *descriptor),
               (array, descriptor), paged(hcs_array2d_bytes(descriptor)), HCS_KEY(*array));
HCS_ALLOCATION(hipArray3DCreate, (void **array, const struct hcs_array3d_descriptor *descriptor),
               (array, descriptor), paged(hcs_array3d_bytes(descriptor, 1)), HCS_KEY(*array));
HCS_ALLOCATION(hipMipmappedArrayCreate,
               (void **array, const struct hcs_array3d_descriptor *descriptor, unsigned levels),
               (array, descriptor, levels), paged(hcs_array3d_bytes(descriptor, levels)),
               HCS_KEY(*array));
#define ENDS_ARRAY(FUNCTION)                                                                      \
    HCS_FREE(FUNCTION, (void *array), (array), hcs_take(HCS_KEY(array)), HCS_KEY(array))
ENDS_ARRAY(hipFreeArray);
ENDS_ARRAY(hipFreeMipmappedArray);
ENDS_ARRAY(hipArrayDestroy);
ENDS_ARRAY(hipMipmappedArrayDestroy);

struct memory_location { /* the part of hipMemAllocationProp that says where */
    int allocation_type, handle_types;
    int location_type, location_id;
};
enum { LOCATION_DEVICE = 1 };

static hcs_charge at_location(const struct memory_location *location, size_t bytes) {
    bool on_a_card = location != NULL && location->location_type == LOCATION_DEVICE;
    int card = on_a_card ? hcs_cards_position(&hcs_hip_cards, location->location_id) : -1;
    hcs_pools_make_room(card, bytes);
    return hcs_reserve(card, bytes);
}

typedef void *HANDLE;
HCS_ALLOCATION(hipMemCreate,
               (HANDLE * handle, size_t bytes, const struct memory_location *location,
                uint64_t flags),
               (handle, bytes, location, flags), at_location(location, bytes),
               hcs_handle_created(HCS_KEY(*handle)));
HCS_MAPS(hipMemMap, void *);
HCS_UNMAPS(hipMemUnmap, void *);
HCS_RETAINS(hipMemRetainAllocationHandle);
HCS_RELEASES(hipMemRelease);

/* The events go before the card does. */
static int reset_card(void) {
    int card = hcs_hip_current_card();
    hcs_share_ended((unsigned)card + 1);
    return card;
}
HCS_AROUND(hipDeviceReset, (void), (), int card = reset_card(), hcs_ended(card, 0);
           hcs_pools_ended(card));

HCS_AFTER(hipMemGetInfo, (size_t *free_bytes, size_t *total_bytes), (free_bytes, total_bytes),
          hcs_pools_synchronized();
          hcs_show_quota(hcs_hip_current_card(), free_bytes, total_bytes));
HCS_AFTER(hipDeviceTotalMem, (size_t *bytes, int device), (bytes, device),
          hcs_show_quota(hcs_cards_position(&hcs_hip_cards, device), NULL, bytes));

/* hipDeviceProp_t: where it says how much memory the card has. The plain name is the old form, for
 * programs older than ROCm 6; newer headers make R0600 of it. */
#define TOTAL_BYTES_AT_R0000 256
#define TOTAL_BYTES_AT_R0600 288
#define SHOWS_PROPERTIES(FUNCTION, TOTAL_BYTES_AT)                                                \
    HCS_AFTER(FUNCTION, (char *properties, int device), (properties, device),                     \
              hcs_show_quota(hcs_cards_position(&hcs_hip_cards, device), NULL,                    \
                             (uint64_t *)(void *)(properties + (TOTAL_BYTES_AT))))
SHOWS_PROPERTIES(hipGetDeviceProperties, TOTAL_BYTES_AT_R0000);
SHOWS_PROPERTIES(hipGetDevicePropertiesR0000, TOTAL_BYTES_AT_R0000);
SHOWS_PROPERTIES(hipGetDevicePropertiesR0600, TOTAL_BYTES_AT_R0600);

/* The runtime's own lookup. Which form it finds depends on version and flags, and on how old it is;
 * but what it finds is always what is exported. */
#define LOOKS_UP(FUNCTION)                                                                        \
    HCS_AFTER(FUNCTION,                                                                           \
              (const char *symbol, void **function, int version, uint64_t flags, int *status),    \
              (symbol, function, version, flags, status),                                         \
              *function = hcs_hook_of(&hcs_hip_library, *function))
LOOKS_UP(hipGetProcAddress);
LOOKS_UP(hipGetProcAddress_spt);

/* The same as the runtime's function, which takes no version. */
#define FINDS_ENTRY_POINT(FUNCTION)                                                               \
    HCS_AFTER(FUNCTION, (const char *symbol, void **function, uint64_t flags, int *status),       \
              (symbol, function, flags, status),                                                  \
              *function = hcs_hook_of(&hcs_hip_library, *function))
FINDS_ENTRY_POINT(hipGetDriverEntryPoint);
FINDS_ENTRY_POINT(hipGetDriverEntryPoint_spt);
