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
    X(cnMemAllocAsync, (uint64_t *, uint64_t, void *))                                             \
    X(cnMemFreeAsync, (uint64_t, void *))                                                          \
    X(cnCtxSync, (void))                                                                           \
    X(cnMemAddressReserve, (uint64_t *, size_t, size_t, uint64_t, uint64_t))                       \
    X(cnMemCreate, (uint64_t *, size_t, const struct properties *, uint64_t))                      \
    X(cnMemMap, (uint64_t, size_t, size_t, uint64_t, uint64_t))                                    \
    X(cnMemUnmap, (uint64_t, size_t))                                                              \
    X(cnMemRelease, (uint64_t))                                                                    \
    X(cnFree, (uint64_t))                                                                          \
    X(cnMemGetInfo, (uint64_t *, uint64_t *))                                                      \
    X(cnDeviceTotalMem, (uint64_t *, uint64_t))                                                    \
    X(cnGetExportFunction, (const char *, const void **))
struct properties { int type, handle_types, location_type; uint32_t location_id; char flags[4]; };
FUNCTIONS(DECLARE)

static int current_device;

static int begin(void) { return cnInit(0); }
static int use_device(int device) {
    void *context;
    int result = cnSharedContextAcquire(&context, (uint64_t)(current_device = device));
    return result != 0 ? result : cnCtxSetCurrent(context);
}
static int info(size_t *free_, size_t *total) { return cnMemGetInfo(free_, total); }
static int total_of(size_t *bytes, int device) { return cnDeviceTotalMem(bytes, (uint64_t)device); }
static int classic(uint64_t *block, size_t bytes) { return cnMalloc(block, bytes); }
static int zeroed(uint64_t *block, size_t bytes) { return cnZmalloc(block, bytes); }
static int constant(uint64_t *block, size_t bytes) { return cnMallocConstant(block, bytes); }
static int peer(uint64_t *block, size_t bytes) { return cnMallocPeerAble(block, bytes); }
static int on_node(uint64_t *block, size_t bytes) { return cnMallocNode(block, bytes, 0); }
static int release(uint64_t block) { return cnFree(block); }

/* By the driver's own lookup. */
static int exported(uint64_t *block, size_t bytes) {
    int (*allocate)(uint64_t *, uint64_t);
    int result = cnGetExportFunction("cnMalloc", (const void **)&allocate);
    return result != 0 ? result : allocate(block, bytes);
}

static int in_queue(uint64_t *block, size_t bytes) { return cnMemAllocAsync(block, bytes, NULL); }
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

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"zeroed", zeroed, release},
    {"constant", constant, release},
    {"peer", peer, release},
    {"on_node", on_node, release},
    {"exported", exported, release},
    {"async", in_queue, release_in_queue},
    {"physical", physical, release_physical},
    {"mapped", mapped, release_mapped},
    {NULL, NULL, NULL},
};
static int reset(void) { return cnSharedContextReset((uint64_t)current_device); }
static int synchronize(void) { return cnCtxSync(); }
static const struct extra extras[] = {
    {"reset", reset},
    {"synchronize", synchronize},
    {NULL, NULL},
};
