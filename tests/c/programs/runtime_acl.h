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
    X(aclrtGetMemInfo, (int, size_t *, size_t *))
struct properties { int handle_type, type, attribute; uint32_t id; int location; uint64_t rest; };
FUNCTIONS(DECLARE)

static int current_device;

static int begin(void) { return aclInit(NULL); }
static int use_device(int device) { return aclrtSetDevice(current_device = device); }
static int info(size_t *free_, size_t *total) { return aclrtGetMemInfo(1, free_, total); }
static int total_of(size_t *bytes, int device) { return *bytes = 0, device; }
static int classic(uint64_t *block, size_t bytes) { return aclrtMalloc((void **)block, bytes, 0); }
static int aligned(uint64_t *block, size_t bytes) {
    return aclrtMallocAlign32((void **)block, bytes, 0);
}
static int cached(uint64_t *block, size_t bytes) {
    return aclrtMallocCached((void **)block, bytes, 0);
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

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"aligned", aligned, release},
    {"cached", cached, release_in_sync},
    {"physical", physical, release_physical},
    {"mapped", mapped, release_mapped},
    {NULL, NULL, NULL},
};
static int reset(void) { return aclrtResetDevice(current_device); }
static int reset_at_once(void) { return aclrtResetDeviceForce(current_device); }
static const struct extra extras[] = {
    {"reset", reset},
    {"reset_at_once", reset_at_once},
    {NULL, NULL},
};
