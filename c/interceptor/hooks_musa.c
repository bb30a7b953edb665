/* Moore Threads: the runtime, libmusart.so, and the driver below it, libmusa.so. */
#include "hooks_musa.h"
#include "pools.h"

const struct hcs_library hcs_musart_library = {
    {"libmusart.so.5", "libmusart.so.4", "libmusart.so"}};
const struct hcs_library hcs_musa_library = {
    {"libmusa.so.5", "libmusa.so.4", "libmusa.so.1", "libmusa.so"}};
#define LIBRARY hcs_musart_library

#define GRANULARITY_BYTES 512 /* what the driver really hands out is a multiple of this */

static int find_card(int device) { return hcs_cards_listed("MUSA_VISIBLE_DEVICES", device); }

struct hcs_cards hcs_musa_cards = {.find = find_card};

static int card_of(int (*get_device)(int *)) {
    int device;
    bool known = get_device != NULL && get_device(&device) == 0;
    return known ? hcs_cards_position(&hcs_musa_cards, device) : -1;
}

static hcs_charge on_card(int card, uint64_t bytes) {
    hcs_pools_make_room(card, bytes);
    return hcs_reserve(card, bytes);
}

HCS_CALLED(musaGetDevice);

int hcs_musart_card(void) { return card_of(hcs_real(&find_musaGetDevice)); }

static hcs_charge on_runtime_card(uint64_t bytes) {
    return on_card(hcs_musart_card(), hcs_round_up(bytes, GRANULARITY_BYTES));
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
struct pitched { /* musaPitchedPtr */
    void *pointer;
    size_t pitch, width, height;
};
struct extent { /* musaExtent */
    size_t width, height, depth;
};
HCS_ALLOCATION(musaMalloc3D, (struct pitched * pitched, struct extent extent), (pitched, extent),
               in_rows(extent.width, hcs_product(extent.height, extent.depth)),
               HCS_KEY(pitched->pointer));
HCS_AFTER(musaMemGetInfo, (size_t *free_bytes, size_t *total_bytes), (free_bytes, total_bytes),
          hcs_pools_synchronized();
          hcs_show_quota(hcs_musart_card(), free_bytes, total_bytes));

/* musaDeviceProp: where it says how much memory the card has, as CUDA's does. */
#define TOTAL_BYTES_AT 288
#define SHOWS_PROPERTIES(FUNCTION)                                                                \
    HCS_AFTER(FUNCTION, (char *properties, int device), (properties, device),                     \
              hcs_show_quota(hcs_cards_position(&hcs_musa_cards, device), NULL,                   \
                             (uint64_t *)(void *)(properties + TOTAL_BYTES_AT)))
SHOWS_PROPERTIES(musaGetDeviceProperties);
SHOWS_PROPERTIES(musaGetDeviceProperties_v2);

/* The events go before the card does. */
static int reset_card(int card) {
    hcs_share_ended((unsigned)card + 1);
    return card;
}
HCS_AROUND(musaDeviceReset, (void), (), int card = reset_card(hcs_musart_card()),
           hcs_ended(card, 0); hcs_pools_ended(card));

HCS_CALLED(musaEventCreateWithFlags);
HCS_CALLED(musaEventDestroy);
HCS_CALLED(musaEventRecord);
HCS_CALLED(musaEventQuery);
HCS_CALLED(musaEventElapsedTime);
HCS_CALLED(musaStreamIsCapturing);
HCS_CALLED(musaThreadExchangeStreamCaptureMode);

static const struct hcs_share_runtime runtime_share = {
    .create = &find_musaEventCreateWithFlags,
    .destroy = &find_musaEventDestroy,
    .record = &find_musaEventRecord,
    .query = &find_musaEventQuery,
    .elapsed = &find_musaEventElapsedTime,
    .capturing = &find_musaStreamIsCapturing,
    .mode = &find_musaThreadExchangeStreamCaptureMode,
    .not_ready = HCS_SHARE_NOT_READY,
    .own_stream = HCS_SHARE_OWN_STREAM,
};

/* A card stands for its context: events end with a reset. */
static struct hcs_share_place runtime_stream(void *stream) {
    int card = hcs_musart_card();
    return (struct hcs_share_place){&runtime_share, card, (unsigned)card + 1, stream};
}
static struct hcs_share_place runtime_own(void *stream) {
    return runtime_stream(stream != NULL ? stream : HCS_SHARE_OWN_STREAM);
}

struct dim3 {
    uint32_t x, y, z;
};
struct runtime_launch { /* musaLaunchConfig_t */
    struct dim3 grid, block;
    size_t shared_bytes;
    void *stream, *attributes;
    unsigned attribute_count;
};

#define RUNTIME_LAUNCH(FUNCTION, PLACE)                                                           \
    HCS_LAUNCH(FUNCTION,                                                                          \
               (const void *function, struct dim3 grid, struct dim3 block, void **parameters,     \
                size_t shared_bytes, void *stream),                                               \
               (function, grid, block, parameters, shared_bytes, stream), PLACE(stream))
#define RUNTIME_CONFIGURED(FUNCTION, PLACE)                                                       \
    HCS_LAUNCH(FUNCTION,                                                                          \
               (const struct runtime_launch *launch, const void *function, void **parameters),    \
               (launch, function, parameters), PLACE(launch != NULL ? launch->stream : NULL))
#define GRAPH_LAUNCH(FUNCTION, PLACE)                                                             \
    HCS_LAUNCH(FUNCTION, (void *executable, void *stream), (executable, stream), PLACE(stream))

RUNTIME_LAUNCH(musaLaunchKernel, runtime_stream);
RUNTIME_LAUNCH(musaLaunchKernel_ptsz, runtime_own);
RUNTIME_LAUNCH(musaLaunchCooperativeKernel, runtime_stream);
RUNTIME_LAUNCH(musaLaunchCooperativeKernel_ptsz, runtime_own);
RUNTIME_CONFIGURED(musaLaunchKernelExC, runtime_stream);
RUNTIME_CONFIGURED(musaLaunchKernelExC_ptsz, runtime_own);
GRAPH_LAUNCH(musaGraphLaunch, runtime_stream);
GRAPH_LAUNCH(musaGraphLaunch_ptsz, runtime_own);

/* The layer below. */
#undef LIBRARY
#define LIBRARY hcs_musa_library

HCS_CALLED(muCtxGetDevice);

int hcs_musa_card(void) { return card_of(hcs_real(&find_muCtxGetDevice)); }

HCS_CALLED(muCtxGetCurrent);
HCS_CALLED(muDevicePrimaryCtxGetState);

/* A card's primary context takes its memory with it, if it was seen to be retained; what is in any
 * other context stays charged until it is freed or the card is reset. */
static void *primary[HCS_CARDS_MAX]; /* by device */

static void remember_primary(int device, void *context) {
    if (device >= 0 && device < HCS_CARDS_MAX) {
        __atomic_store_n(&primary[device], context, __ATOMIC_RELAXED);
    }
}

/* Its number: 1 + the device's. */
static unsigned context_on(int device) {
    int (*get_current)(void **) = hcs_real(&find_muCtxGetCurrent);
    void *context = NULL;
    bool known = device >= 0 && device < HCS_CARDS_MAX && get_current != NULL &&
                 get_current(&context) == 0 && context != NULL &&
                 context == __atomic_load_n(&primary[device], __ATOMIC_RELAXED);
    return known ? (unsigned)device + 1 : 0;
}

static void primary_released(int device) {
    int (*get_state)(int, unsigned *, int *) = hcs_real(&find_muDevicePrimaryCtxGetState);
    int card = hcs_cards_position(&hcs_musa_cards, device), active = 1;
    unsigned flags;
    if (get_state != NULL && get_state(device, &flags, &active) == 0 && !active) {
        hcs_share_ended((unsigned)card + 1);
        hcs_ended(card, (unsigned)device + 1);
    }
}

HCS_AFTER(muDevicePrimaryCtxRetain, (void **context, int device), (context, device),
          remember_primary(device, *context));
HCS_AFTER(muDevicePrimaryCtxRelease_v2, (int device), (device), primary_released(device));

static hcs_charge on_driver_card(uint64_t bytes) {
    int (*get_device)(int *) = hcs_real(&find_muCtxGetDevice);
    int device;
    bool known = get_device != NULL && get_device(&device) == 0;
    int card = known ? hcs_cards_position(&hcs_musa_cards, device) : -1;
    bytes = hcs_round_up(bytes, GRANULARITY_BYTES);
    hcs_pools_make_room(card, bytes);
    return hcs_reserve_in(card, known ? context_on(device) : 0, bytes);
}

struct memory_location { /* the part of MUmemAllocationProp that says where */
    int allocation_type, handle_types;
    int location_type, location_id;
};
enum { LOCATION_DEVICE = 1 };

static hcs_charge at_location(const struct memory_location *location, size_t bytes) {
    bool on_a_card = location != NULL && location->location_type == LOCATION_DEVICE;
    int card = on_a_card ? hcs_cards_position(&hcs_musa_cards, location->location_id) : -1;
    hcs_pools_make_room(card, bytes);
    return hcs_reserve_in(card, HCS_CONTEXT_NONE, bytes);
}

HCS_ALLOCATION(muMemAlloc_v2, (uint64_t *pointer, size_t bytes), (pointer, bytes),
               on_driver_card(bytes), *pointer);
HCS_ALLOCATION(muMemAllocPitch_v2,
               (uint64_t *pointer, size_t *pitch, size_t width, size_t height, unsigned element),
               (pointer, pitch, width, height, element),
               on_driver_card(hcs_product(hcs_round_up(width, GRANULARITY_BYTES), height)),
               *pointer);
HCS_ALLOCATION(muMemAllocManaged, (uint64_t *pointer, size_t bytes, unsigned flags),
               (pointer, bytes, flags), on_driver_card(bytes), *pointer);

typedef uint64_t HANDLE;
HCS_ALLOCATION(muMemCreate,
               (HANDLE * handle, size_t bytes, const struct memory_location *location,
                uint64_t flags),
               (handle, bytes, location, flags), at_location(location, bytes),
               hcs_handle_created(*handle));
HCS_MAPS(muMemMap, uint64_t);
HCS_UNMAPS(muMemUnmap, uint64_t);
HCS_RETAINS(muMemRetainAllocationHandle);
HCS_RELEASES(muMemRelease);

HCS_AFTER(muMemGetInfo_v2, (size_t *free_bytes, size_t *total_bytes), (free_bytes, total_bytes),
          hcs_pools_synchronized();
          hcs_show_quota(hcs_musa_card(), free_bytes, total_bytes));
HCS_AFTER(muDeviceTotalMem_v2, (size_t *bytes, int device), (bytes, device),
          hcs_show_quota(hcs_cards_position(&hcs_musa_cards, device), NULL, bytes));
HCS_AROUND(muDevicePrimaryCtxReset_v2, (int device), (device),
           int card = reset_card(hcs_cards_position(&hcs_musa_cards, device)), hcs_ended(card, 0);
           hcs_pools_ended(card));

HCS_CALLED(muEventCreate);
HCS_CALLED(muEventDestroy_v2);
HCS_CALLED(muEventRecord);
HCS_CALLED(muEventQuery);
HCS_CALLED(muEventElapsedTime);
HCS_CALLED(muStreamIsCapturing);
HCS_CALLED(muThreadExchangeStreamCaptureMode);

static const struct hcs_share_runtime driver_share = {
    .create = &find_muEventCreate,
    .destroy = &find_muEventDestroy_v2,
    .record = &find_muEventRecord,
    .query = &find_muEventQuery,
    .elapsed = &find_muEventElapsedTime,
    .capturing = &find_muStreamIsCapturing,
    .mode = &find_muThreadExchangeStreamCaptureMode,
    .not_ready = HCS_SHARE_NOT_READY,
    .own_stream = HCS_SHARE_OWN_STREAM,
};

static struct hcs_share_place driver_stream(void *stream) {
    int card = hcs_musa_card();
    return (struct hcs_share_place){&driver_share, card, (unsigned)card + 1, stream};
}
static struct hcs_share_place driver_own(void *stream) {
    return driver_stream(stream != NULL ? stream : HCS_SHARE_OWN_STREAM);
}

struct driver_launch { /* MUlaunchConfig */
    unsigned grid[3], block[3], shared_bytes;
    void *stream, *attributes;
    unsigned attribute_count;
};

#define DRIVER_LAUNCH(FUNCTION, PLACE)                                                            \
    HCS_LAUNCH(FUNCTION,                                                                          \
               (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,                \
                unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,      \
                void *stream, void **parameters, void **extra),                                   \
               (function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes,        \
                stream, parameters, extra),                                                       \
               PLACE(stream))
#define DRIVER_COOPERATIVE(FUNCTION, PLACE)                                                       \
    HCS_LAUNCH(FUNCTION,                                                                          \
               (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,                \
                unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,      \
                void *stream, void **parameters),                                                 \
               (function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes,        \
                stream, parameters),                                                              \
               PLACE(stream))
#define DRIVER_CONFIGURED(FUNCTION, PLACE)                                                        \
    HCS_LAUNCH(FUNCTION,                                                                          \
               (const struct driver_launch *launch, void *function, void **parameters,            \
                void **extra),                                                                    \
               (launch, function, parameters, extra),                                             \
               PLACE(launch != NULL ? launch->stream : NULL))

DRIVER_LAUNCH(muLaunchKernel, driver_stream);
DRIVER_LAUNCH(muLaunchKernel_ptsz, driver_own);
DRIVER_COOPERATIVE(muLaunchCooperativeKernel, driver_stream);
DRIVER_COOPERATIVE(muLaunchCooperativeKernel_ptsz, driver_own);
DRIVER_CONFIGURED(muLaunchKernelEx, driver_stream);
DRIVER_CONFIGURED(muLaunchKernelEx_ptsz, driver_own);
GRAPH_LAUNCH(muGraphLaunch, driver_stream);
GRAPH_LAUNCH(muGraphLaunch_ptsz, driver_own);
