/* Cambricon's driver API. */
#define LIBRARY "libcndrv.so"
#define FUNCTIONS(X)                                                                               \
    X(cnInit, (unsigned))                                                                          \
    X(cnSharedContextAcquire, (void **, uint64_t))                                                 \
    X(cnSharedContextReset, (uint64_t))                                                            \
    X(cnCtxSetCurrent, (void *))                                                                   \
    X(cnMalloc, (uint64_t *, uint64_t))                                                            \
    X(cnZmalloc, (uint64_t *, uint64_t))                                                           \
    X(cnMallocConstant, (uint64_t *, uint64_t))                                                    \
    X(cnMallocPeerAble, (uint64_t *, uint64_t))                                                    \
    X(cnMallocNode, (uint64_t *, uint64_t, int))                                                   \
    X(cnMallocSecurity, (uint64_t *, uint64_t))                                                    \
    X(cnZmallocNode, (uint64_t *, uint64_t, int))                                                  \
    X(cnMallocNodeConstant, (uint64_t *, uint64_t, int))                                           \
    X(cnMallocFrameBuffer, (uint64_t *, uint64_t, int))                                            \
    X(cnMemMerge, (uint64_t *, unsigned, const uint64_t *))                                        \
    X(cnCreateQueue, (void **, unsigned))                                                          \
    X(cnMemAllocAsync, (uint64_t *, uint64_t, void *))                                             \
    X(cnMemAllocFromPoolAsync, (uint64_t *, uint64_t, void *, void *))                             \
    X(cnMemPoolCreate, (void **, const struct pool_properties *))                                  \
    X(cnMemPoolDestroy, (void *))                                                                  \
    X(cnMemPoolTrimTo, (void *, size_t))                                                           \
    X(cnQueueSync, (void *))                                                                       \
    X(cnCreateNotifier, (void **, unsigned))                                                       \
    X(cnPlaceNotifier, (void *, void *))                                                           \
    X(cnWaitNotifier, (void *))                                                                    \
    X(cnDestroyNotifier, (void *))                                                                 \
    X(cnMemFreeAsync, (uint64_t, void *))                                                          \
    X(cnCtxSync, (void))                                                                           \
    X(cnMemAddressReserve, (uint64_t *, size_t, size_t, uint64_t, uint64_t))                       \
    X(cnMemCreate, (uint64_t *, size_t, const struct properties *, uint64_t))                      \
    X(cnMemMap, (uint64_t, size_t, size_t, uint64_t, uint64_t))                                    \
    X(cnMemUnmap, (uint64_t, size_t))                                                              \
    X(cnMemRetainAllocationHandle, (uint64_t *, void *))                                           \
    X(cnMemRelease, (uint64_t))                                                                    \
    X(cnFree, (uint64_t))                                                                          \
    X(cnMemGetInfo, (uint64_t *, uint64_t *))                                                      \
    X(cnMemGetNodeInfo, (uint64_t *, uint64_t *, int))                                             \
    X(cnDeviceTotalMem, (uint64_t *, uint64_t))                                                    \
    X(cnIpcOpenMemHandle, (uint64_t *, void *, unsigned))                                          \
    X(cnGetExportFunction, (const char *, const void **))
struct pool_properties { int type, handle_types, location; uint32_t id; size_t max, rest[8]; };
struct properties { int type, handle_types, location_type; uint32_t location_id; char flags[4]; };
FUNCTIONS(DECLARE)

static int current_device;

static int begin(void) { return cnInit(0); }
static int use_device(int device) {
    void *context;
    int result = cnSharedContextAcquire(&context, (uint64_t)(current_device = device));
    return result != 0 ? result : cnCtxSetCurrent(context);
}
static int info(size_t *free_, size_t *total) { /* a card has one node here */
    size_t free_2, total_2;
    int result = cnMemGetInfo(free_, total) || cnMemGetNodeInfo(&free_2, &total_2, 0);
    return result != 0 || (*free_ == free_2 && *total == total_2) ? result : -1;
}
static int total_of(size_t *bytes, int device) { return cnDeviceTotalMem(bytes, (uint64_t)device); }
static int classic(uint64_t *block, size_t bytes) { return cnMalloc(block, bytes); }
static int zeroed(uint64_t *block, size_t bytes) { return cnZmalloc(block, bytes); }
static int constant(uint64_t *block, size_t bytes) { return cnMallocConstant(block, bytes); }
static int peer(uint64_t *block, size_t bytes) { return cnMallocPeerAble(block, bytes); }
static int on_node(uint64_t *block, size_t bytes) { return cnMallocNode(block, bytes, 0); }
static int security(uint64_t *block, size_t bytes) { return cnMallocSecurity(block, bytes); }
static int zeroed_on_node(uint64_t *block, size_t bytes) { return cnZmallocNode(block, bytes, 0); }
static int constant_on_node(uint64_t *block, size_t bytes) {
    return cnMallocNodeConstant(block, bytes, 0);
}
static int frame(uint64_t *block, size_t bytes) { return cnMallocFrameBuffer(block, bytes, 0); }
static int release(uint64_t block) { return cnFree(block); }
static int merged(uint64_t *block, size_t bytes) { /* of three */
    uint64_t parts[3] = {0};
    int result = 0;
    for (int i = 0; i < 3 && result == 0; i++) {
        result = cnMalloc(&parts[i], bytes / 3);
    }
    if (result == 0) {
        return cnMemMerge(block, 3, parts);
    }
    for (int i = 0; i < 3; i++) {
        (void)(parts[i] != 0 && cnFree(parts[i]));
    }
    return result;
}

/* By the driver's own lookup. */
static int exported(uint64_t *block, size_t bytes) {
    int (*allocate)(uint64_t *, uint64_t);
    int result = cnGetExportFunction("cnMalloc", (const void **)&allocate);
    return result != 0 ? result : allocate(block, bytes);
}

static int in_queue(uint64_t *block, size_t bytes) { return cnMemAllocAsync(block, bytes, NULL); }
/* In a queue of the card behind the current one. */
static void *next_card_queue;
static int in_next_cards_queue(uint64_t *block, size_t bytes) {
    int device = current_device;
    int result = next_card_queue != NULL
                     ? 0
                     : use_device(device + 1) || cnCreateQueue(&next_card_queue, 0) ||
                           use_device(device);
    return result != 0 ? 999 : cnMemAllocAsync(block, bytes, next_card_queue);
}
static int release_in_queue(uint64_t block) { return cnMemFreeAsync(block, NULL); }
static int physical(uint64_t *block, size_t bytes) {
    struct properties properties = {0, 0, 1, (uint32_t)current_device, {0}};
    return cnMemCreate(block, bytes, &properties, 0);
}
static int release_physical(uint64_t block) { return cnMemRelease(block); }
static size_t mapped_bytes;
static int mapped(uint64_t *block, size_t bytes) {
    uint64_t handle;
    int result = physical(&handle, bytes);
    if (result == 0) {
        mapped_bytes = bytes;
        result = cnMemAddressReserve(block, bytes, 0, 0, 0) ||
                 cnMemMap(*block, bytes, 0, handle, 0) || cnMemRelease(handle);
    }
    return result;
}
static int release_mapped(uint64_t block) { return cnMemUnmap(block, mapped_bytes); }
static int retained(uint64_t *block, size_t bytes) { /* by what it is mapped to */
    uint64_t address;
    int result = mapped(&address, bytes);
    return result != 0 ? result
                       : cnMemRetainAllocationHandle(block, POINTER(address)) ||
                             release_mapped(address);
}

static void *pool;
static int in_made_pool(uint64_t *block, size_t bytes) {
    struct pool_properties properties = {1, 0, 1, (uint32_t)current_device, 0, {0}};
    int result = pool != NULL ? 0 : cnMemPoolCreate(&pool, &properties);
    return result != 0 ? result : cnMemAllocFromPoolAsync(block, bytes, pool, NULL);
}

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"zeroed", zeroed, release},
    {"constant", constant, release},
    {"peer", peer, release},
    {"on_node", on_node, release},
    {"security", security, release},
    {"zeroed_on_node", zeroed_on_node, release},
    {"constant_on_node", constant_on_node, release},
    {"frame", frame, release},
    {"merged", merged, release},
    {"retained", retained, release_physical},
    {"made_pool", in_made_pool, release_in_queue},
    {"exported", exported, release},
    {"async", in_queue, release_in_queue},
    {"next_cards_stream", in_next_cards_queue, release_in_queue},
    {"physical", physical, release_physical},
    {"mapped", mapped, release_mapped},
    {NULL, NULL, NULL},
};
static int reset(void) { return cnSharedContextReset((uint64_t)current_device); }
static int synchronize(void) { return cnCtxSync(); }
static int synchronize_stream(void) { return cnQueueSync(NULL); }
static int synchronize_event(void) {
    void *notifier;
    return cnCreateNotifier(&notifier, 0) || cnPlaceNotifier(notifier, NULL) ||
           cnWaitNotifier(notifier) || cnDestroyNotifier(notifier);
}
static int trim(void) { return cnMemPoolTrimTo(pool, 0); }
static int destroy_pool(void) {
    int result = cnMemPoolDestroy(pool);
    pool = NULL;
    return result;
}
static int import(void) {
    uint64_t imported;
    return cnIpcOpenMemHandle(&imported, NULL, 0);
}
static const struct extra extras[] = {
    {"import", import},
    {"synchronize_stream", synchronize_stream},
    {"synchronize_event", synchronize_event},
    {"trim", trim},
    {"destroy_pool", destroy_pool},
    {"reset", reset},
    {"synchronize", synchronize},
    {NULL, NULL},
};
