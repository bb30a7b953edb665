/* Ascend's runtime. */
#define LIBRARY "libascendcl.so"
#define FUNCTIONS(X)                                                                               \
    X(aclInit, (const char *))                                                                     \
    X(aclrtSetDevice, (int32_t))                                                                   \
    X(aclrtResetDevice, (int32_t))                                                                 \
    X(aclrtResetDeviceForce, (int32_t))                                                            \
    X(aclrtMalloc, (void **, size_t, int))                                                         \
    X(aclrtMallocAlign32, (void **, size_t, int))                                                  \
    X(aclrtMallocCached, (void **, size_t, int))                                                   \
    X(aclrtFree, (void *))                                                                         \
    X(aclrtFreeWithDevSync, (void *))                                                              \
    X(aclrtMallocPhysical, (void **, size_t, const struct properties *, uint64_t))                 \
    X(aclrtFreePhysical, (void *))                                                                 \
    X(aclrtReserveMemAddress, (void **, size_t, size_t, void *, uint64_t))                         \
    X(aclrtMapMem, (void *, size_t, size_t, void *, uint64_t))                                     \
    X(aclrtUnmapMem, (void *))                                                                     \
    X(aclrtMemRetainAllocationHandle, (void *, void **))                                           \
    X(aclrtMallocWithCfg, (void **, size_t, int, struct config *))                                 \
    X(aclrtMallocForTaskScheduler, (void **, size_t, int, struct config *))                        \
    X(aclrtMemAllocManaged, (void **, uint64_t, uint32_t))                                         \
    X(aclrtMemPoolCreate, (void **, const struct pool_properties *))                               \
    X(aclrtMemPoolDestroy, (void *))                                                               \
    X(aclrtMemPoolTrimTo, (void *, size_t))                                                        \
    X(aclrtMemPoolMallocAsync, (void **, size_t, void *, void *))                                  \
    X(aclrtMemPoolFreeAsync, (void *, void *))                                                     \
    X(aclrtGetDeviceInfo, (uint32_t, int, int64_t *))                                              \
    X(aclrtGetMemInfo, (int, size_t *, size_t *))
struct properties { int handle_type, type, attribute; uint32_t id; int location; uint64_t rest; };
struct config { struct { int attribute; uint32_t device, rest; } *attributes; size_t count; };
struct pool_properties { int type, handle_type; uint32_t id; int location; size_t max, rest[4]; };
FUNCTIONS(DECLARE)

static int current_device;

static int begin(void) { return aclInit(NULL); }
static int use_device(int device) { return aclrtSetDevice(current_device = device); }
static int info(size_t *free_, size_t *total) { return aclrtGetMemInfo(1, free_, total); }
static int total_of(size_t *bytes, int device) {
    return aclrtGetDeviceInfo((uint32_t)device, 301, (int64_t *)bytes);
}
static int classic(uint64_t *block, size_t bytes) { return aclrtMalloc((void **)block, bytes, 0); }
static int aligned(uint64_t *block, size_t bytes) {
    return aclrtMallocAlign32((void **)block, bytes, 0);
}
static int cached(uint64_t *block, size_t bytes) {
    return aclrtMallocCached((void **)block, bytes, 0);
}
static int configured(uint64_t *block, size_t bytes) { /* with the current card's name */
    struct config config = {&(__typeof__(*config.attributes)){2, (uint32_t)current_device, 0}, 1};
    return aclrtMallocWithCfg((void **)block, bytes, 0, &config);
}
static int scheduled(uint64_t *block, size_t bytes) {
    return aclrtMallocForTaskScheduler((void **)block, bytes, 0, NULL);
}
static int managed(uint64_t *block, size_t bytes) {
    return aclrtMemAllocManaged((void **)block, bytes, 0);
}
static int release(uint64_t block) { return aclrtFree(POINTER(block)); }
static int release_in_sync(uint64_t block) { return aclrtFreeWithDevSync(POINTER(block)); }
static int physical(uint64_t *block, size_t bytes) {
    struct properties properties = {0, 0, 4, (uint32_t)current_device, 1, 0};
    return aclrtMallocPhysical((void **)block, bytes, &properties, 0);
}
static int release_physical(uint64_t block) { return aclrtFreePhysical(POINTER(block)); }
static int mapped(uint64_t *block, size_t bytes) {
    uint64_t handle;
    int result = physical(&handle, bytes);
    if (result == 0) {
        result = aclrtReserveMemAddress((void **)block, bytes, 0, NULL, 0) ||
                 aclrtMapMem(POINTER(*block), bytes, 0, POINTER(handle), 0) ||
                 release_physical(handle);
    }
    return result;
}
static int release_mapped(uint64_t block) { return aclrtUnmapMem(POINTER(block)); }
static int retained(uint64_t *block, size_t bytes) { /* by what it is mapped to */
    uint64_t address;
    int result = mapped(&address, bytes);
    return result != 0 ? result
                       : aclrtMemRetainAllocationHandle(POINTER(address), (void **)block) ||
                             release_mapped(address);
}

#define STREAM POINTER(1) /* what runs there takes no time */
static void *pool;
static int in_pool(uint64_t *block, size_t bytes) {
    struct pool_properties properties = {0, 0, (uint32_t)current_device, 1, 0, {0}};
    int result = pool != NULL ? 0 : aclrtMemPoolCreate(&pool, &properties);
    return result != 0 ? result : aclrtMemPoolMallocAsync((void **)block, bytes, pool, STREAM);
}
static int release_in_pool(uint64_t block) {
    return aclrtMemPoolFreeAsync(POINTER(block), STREAM);
}

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"aligned", aligned, release},
    {"cached", cached, release_in_sync},
    {"configured", configured, release},
    {"scheduled", scheduled, release},
    {"managed", managed, release},
    {"retained", retained, release_physical},
    {"pool", in_pool, release_in_pool},
    {"pool_at_once", in_pool, release},
    {"physical", physical, release_physical},
    {"mapped", mapped, release_mapped},
    {NULL, NULL, NULL},
};
static int reset(void) { return aclrtResetDevice(current_device); }
static int reset_at_once(void) { return aclrtResetDeviceForce(current_device); }
static int trim(void) { return aclrtMemPoolTrimTo(pool, 0); }
static int destroy_pool(void) {
    int result = aclrtMemPoolDestroy(pool);
    pool = NULL;
    return result;
}
static const struct extra extras[] = {
    {"trim", trim},
    {"destroy_pool", destroy_pool},
    {"reset", reset},
    {"reset_at_once", reset_at_once},
    {NULL, NULL},
};
