/* Cambricon: the runtime, libcnrt.so, and the driver below it, libcndrv.so. */
#include "hooks.h"

enum {
    CN_ERROR_NOT_INITIALIZED = 100002,
    CN_MEMORY_ERROR_OUT_OF_MEMORY = 100100, /* cnrtErrorNoMem is the same */
};
static const struct hcs_library cnrt_library = {{"libcnrt.so"}};
static const struct hcs_library cndrv_library = {{"libcndrv.so"}};
#define LIBRARY cnrt_library
#define OUT_OF_MEMORY CN_MEMORY_ERROR_OUT_OF_MEMORY
#define NOT_THERE CN_ERROR_NOT_INITIALIZED

static int find_card(int device) { return hcs_cards_ranked("MLU_VISIBLE_DEVICES", device); }

static struct hcs_cards cards = {.find = find_card};

HCS_CALLED(cnrtGetDevice);

static int runtime_card(void) {
    int (*get_device)(int *) = hcs_real(&find_cnrtGetDevice);
    int device;
    bool known = get_device != NULL && get_device(&device) == 0;
    return known ? hcs_cards_position(&cards, device) : -1;
}

static hcs_charge on_runtime_card(uint64_t bytes) {
    return hcs_reserve(runtime_card(), bytes);
}

HCS_ALLOCATION(cnrtMalloc, (void **pointer, size_t bytes), (pointer, bytes),
               on_runtime_card(bytes), HCS_KEY(*pointer));
HCS_ALLOCATION(cnrtMallocConstant, (void **pointer, size_t bytes), (pointer, bytes),
               on_runtime_card(bytes), HCS_KEY(*pointer));
HCS_ALLOCATION(cnrtMemAllocAsync, (void **pointer, size_t bytes, void *queue),
               (pointer, bytes, queue), on_runtime_card(bytes), HCS_KEY(*pointer));
HCS_ALLOCATION(cnrtMemAllocFromPoolAsync,
               (void **pointer, size_t bytes, void *pool, void *queue),
               (pointer, bytes, pool, queue), on_runtime_card(bytes), HCS_KEY(*pointer));
HCS_FREE(cnrtFree, (void *pointer), (pointer), hcs_take(HCS_KEY(pointer)), HCS_KEY(pointer));
HCS_FREE(cnrtMemFreeAsync, (void *pointer, void *queue), (pointer, queue),
         hcs_take(HCS_KEY(pointer)), HCS_KEY(pointer));
HCS_AFTER(cnrtMemGetInfo, (size_t *free_bytes, size_t *total_bytes), (free_bytes, total_bytes),
          hcs_show_quota(runtime_card(), free_bytes, total_bytes));

HCS_AROUND(cnrtDeviceReset, (void), (), int card = runtime_card(), hcs_ended(card, 0));

/* The layer below. */
#undef LIBRARY
#define LIBRARY cndrv_library

HCS_CALLED(cnCtxGetDevice);

static int driver_card(void) {
    int (*get_device)(uint64_t *) = hcs_real(&find_cnCtxGetDevice);
    uint64_t device = 0; /* as wide as any version's CNdev */
    bool known = get_device != NULL && get_device(&device) == 0;
    return known && device < HCS_CARDS_MAX ? hcs_cards_position(&cards, (int)device) : -1;
}

static hcs_charge on_driver_card(uint64_t bytes) {
    return hcs_reserve(driver_card(), bytes);
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
HCS_FREE(cnFree, (uint64_t pointer), (pointer), hcs_take(pointer), pointer);
HCS_AFTER(cnMemGetInfo, (uint64_t *free_bytes, uint64_t *total_bytes), (free_bytes, total_bytes),
          hcs_show_quota(driver_card(), free_bytes, total_bytes));
HCS_AFTER(cnDeviceTotalMem, (uint64_t *bytes, uint64_t device), (bytes, device),
          hcs_show_quota(hcs_cards_position(&cards, (int)device), NULL, bytes));
HCS_AFTER(cnSharedContextReset, (uint64_t device), (device),
          hcs_ended(hcs_cards_position(&cards, (int)device), 0));

/* The driver's own lookup, which knows functions by the names they are exported under. */
HCS_AFTER(cnGetExportFunction, (const char *symbol, const void **function), (symbol, function),
          *function = hcs_hook_instead(&cndrv_library, symbol, (void *)*function));
