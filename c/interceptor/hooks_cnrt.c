/* Cambricon: the runtime, libcnrt.so, and the driver below it, libcndrv.so. */
#include "hooks_cnrt.h"
#include "pools.h"

const struct hcs_library hcs_cnrt_library = {{"libcnrt.so"}};
const struct hcs_library hcs_cndrv_library = {{"libcndrv.so"}};
#define LIBRARY hcs_cnrt_library

#define CN_QUEUE_TYPE_PER_THREAD ((void *)1)

static int find_card(int device) { return hcs_cards_ranked("MLU_VISIBLE_DEVICES", device); }

struct hcs_cards hcs_cnrt_cards = {.find = find_card};

static hcs_charge on_card(int card, uint64_t bytes) {
    hcs_pools_make_room(card, bytes);
    return hcs_reserve(card, bytes);
}

HCS_CALLED(cnrtGetDevice);

int hcs_cnrt_card(void) {
    int (*get_device)(int *) = hcs_real(&find_cnrtGetDevice);
    int device;
    bool known = get_device != NULL && get_device(&device) == 0;
    return known ? hcs_cards_position(&hcs_cnrt_cards, device) : -1;
}

static hcs_charge on_runtime_card(uint64_t bytes) {
    return on_card(hcs_cnrt_card(), bytes);
}

HCS_ALLOCATION(cnrtMalloc, (void **pointer, size_t bytes), (pointer, bytes),
               on_runtime_card(bytes), HCS_KEY(*pointer));
HCS_ALLOCATION(cnrtMallocConstant, (void **pointer, size_t bytes), (pointer, bytes),
               on_runtime_card(bytes), HCS_KEY(*pointer));
HCS_AFTER(cnrtMemGetInfo, (size_t *free_bytes, size_t *total_bytes), (free_bytes, total_bytes),
          hcs_pools_synchronized();
          hcs_show_quota(hcs_cnrt_card(), free_bytes, total_bytes));

enum { AVAILABLE_MEMORY = 0x312, TOTAL_MEMORY = 0x405 }; /* attributes, in MiB */

static void show_attribute(int *value, int attribute, int device) {
    if (attribute == AVAILABLE_MEMORY || attribute == TOTAL_MEMORY) {
        uint64_t bytes = (uint64_t)*value << 20;
        hcs_show_quota(hcs_cards_position(&hcs_cnrt_cards, device), NULL, &bytes);
        *value = (int)(bytes >> 20);
    }
}
HCS_AFTER(cnrtDeviceGetAttribute, (int *value, int attribute, int device),
          (value, attribute, device), show_attribute(value, attribute, device));

/* The events go before the card does. */
static int reset_card(int card) {
    hcs_share_ended((unsigned)card + 1);
    return card;
}
HCS_AROUND(cnrtDeviceReset, (void), (), int card = reset_card(hcs_cnrt_card()),
           hcs_ended(card, 0); hcs_pools_ended(card));

/* The layer below. */
#undef LIBRARY
#define LIBRARY hcs_cndrv_library

HCS_CALLED(cnCtxGetDevice);

int hcs_cndrv_card(void) {
    int (*get_device)(uint64_t *) = hcs_real(&find_cnCtxGetDevice);
    uint64_t device = 0; /* as wide as any version's CNdev */
    bool known = get_device != NULL && get_device(&device) == 0;
    return known && device < HCS_CARDS_MAX ? hcs_cards_position(&hcs_cnrt_cards, (int)device) : -1;
}

static hcs_charge on_driver_card(uint64_t bytes) {
    return on_card(hcs_cndrv_card(), bytes);
}

#define DRIVER_ALLOCATION(FUNCTION)                                                               \
    HCS_ALLOCATION(FUNCTION, (uint64_t *pointer, uint64_t bytes), (pointer, bytes),               \
                   on_driver_card(bytes), *pointer)
#define NODE_ALLOCATION(FUNCTION)                                                                 \
    HCS_ALLOCATION(FUNCTION, (uint64_t *pointer, uint64_t bytes, int node),                       \
                   (pointer, bytes, node), on_driver_card(bytes), *pointer)

DRIVER_ALLOCATION(cnMalloc);
DRIVER_ALLOCATION(cnMallocSecurity);
DRIVER_ALLOCATION(cnZmalloc);
DRIVER_ALLOCATION(cnMallocConstant);
DRIVER_ALLOCATION(cnMallocPeerAble);
NODE_ALLOCATION(cnMallocNode);
NODE_ALLOCATION(cnZmallocNode);
NODE_ALLOCATION(cnMallocNodeConstant);
NODE_ALLOCATION(cnMallocFrameBuffer);
HCS_AFTER(cnMemGetInfo, (uint64_t *free_bytes, uint64_t *total_bytes), (free_bytes, total_bytes),
          hcs_pools_synchronized();
          hcs_show_quota(hcs_cndrv_card(), free_bytes, total_bytes));
HCS_AFTER(cnMemGetNodeInfo, (uint64_t *free_bytes, uint64_t *total_bytes, int node),
          (free_bytes, total_bytes, node), hcs_pools_synchronized();
          hcs_show_quota(hcs_cndrv_card(), free_bytes, total_bytes));

/* Several blocks become one, at an address of its own or at that of one of them. */
static void merged_to(uint64_t address, unsigned count, const uint64_t *addresses) {
    uint64_t bytes = 0;
    hcs_charge charge = HCS_UNENFORCED;
    for (unsigned i = 0; i < count; i++) {
        hcs_charge of_one = hcs_take(addresses[i]);
        charge = of_one != HCS_UNENFORCED ? of_one : charge;
        bytes += of_one != HCS_UNENFORCED ? hcs_block_bytes(of_one) : 0;
    }
    if (charge != HCS_UNENFORCED) {
        hcs_remember(hcs_block_of(bytes, hcs_block_device(charge), hcs_block_context(charge)),
                     address);
    }
}
HCS_AFTER(cnMemMerge, (uint64_t *merged, unsigned count, const uint64_t *addresses),
          (merged, count, addresses), merged_to(*merged, count, addresses));
HCS_AFTER(cnDeviceTotalMem, (uint64_t *bytes, uint64_t device), (bytes, device),
          hcs_show_quota(hcs_cards_position(&hcs_cnrt_cards, (int)device), NULL, bytes));
HCS_AROUND(cnSharedContextReset, (uint64_t device), (device),
           int card = reset_card(hcs_cards_position(&hcs_cnrt_cards, (int)device)),
           hcs_ended(card, 0); hcs_pools_ended(card));

HCS_CALLED(cnCreateNotifier);
HCS_CALLED(cnDestroyNotifier);
HCS_CALLED(cnPlaceNotifier);
HCS_CALLED(cnQueryNotifier);
HCS_CALLED(cnNotifierElapsedTime);
HCS_CALLED(cnQueueIsCapturing);
HCS_CALLED(cnThreadExchangeQueueCaptureMode);

static const struct hcs_share_runtime share_runtime = {
    .create = &find_cnCreateNotifier,
    .destroy = &find_cnDestroyNotifier,
    .record = &find_cnPlaceNotifier,
    .query = &find_cnQueryNotifier,
    .elapsed = &find_cnNotifierElapsedTime,
    .capturing = &find_cnQueueIsCapturing,
    .mode = &find_cnThreadExchangeQueueCaptureMode,
    .not_ready = CN_ERROR_NOT_READY,
    .own_stream = CN_QUEUE_TYPE_PER_THREAD,
};

/* A card stands for its context: notifiers end with a reset. */
static struct hcs_share_place in_queue(void *queue) {
    int card = hcs_cndrv_card();
    return (struct hcs_share_place){&share_runtime, card, (unsigned)card + 1, queue};
}

/* Launches, the runtime's as well: it makes them by these. (Its own function for it has had other
 * parameters.) */
HCS_LAUNCH(cnInvokeKernel,
           (void *kernel, unsigned x, unsigned y, unsigned z, int class, unsigned reserved,
            void *queue, void **parameters, void **extra),
           (kernel, x, y, z, class, reserved, queue, parameters, extra), in_queue(queue));

struct invocation { /* CNinvokeConfig */
    unsigned x, y, z;
    int class;
    unsigned reserved;
    void *queue, *attributes;
    unsigned attribute_count;
};

HCS_LAUNCH(cnInvokeKernelEx,
           (const struct invocation *invocation, void *kernel, void **parameters, void **extra),
           (invocation, kernel, parameters, extra),
           in_queue(invocation != NULL ? invocation->queue : NULL));
HCS_LAUNCH(cnTaskTopoEntityInvoke, (void *entity, void *queue), (entity, queue),
           in_queue(queue));

/* The driver's own lookup, which knows functions by the names they are exported under. */
HCS_AFTER(cnGetExportFunction, (const char *symbol, const void **function), (symbol, function),
          *function = hcs_hook_instead(&hcs_cndrv_library, symbol, (void *)*function));
