/* The layer below Ascend's runtime. */
#define LIBRARY "libruntime.so"
#define FUNCTIONS(X)                                                                               \
    X(rtSetDevice, (int32_t))                                                                      \
    X(rtDeviceReset, (int32_t))                                                                    \
    X(rtDeviceResetForce, (int32_t))                                                               \
    X(rtMalloc, (void **, uint64_t, uint32_t, uint16_t))                                           \
    X(rtMallocCached, (void **, uint64_t, uint32_t, uint16_t))                                     \
    X(rtMemAllocManaged, (void **, uint64_t, uint32_t, uint16_t))                                  \
    X(rtMallocPhysical, (void **, size_t, struct properties *, uint64_t))                          \
    X(rtFreePhysical, (void *))                                                                    \
    X(rtReserveMemAddress, (void **, size_t, size_t, void *, uint64_t))                            \
    X(rtMapMem, (void *, size_t, size_t, void *, uint64_t))                                        \
    X(rtUnmapMem, (void *))                                                                        \
    X(rtFree, (void *))                                                                            \
    X(rtMemGetInfoEx, (int, size_t *, size_t *))
struct properties { uint32_t side, device, module, page_type, memory_type; uint64_t rest; };
FUNCTIONS(DECLARE)

static int current_device;

static int begin(void) { return 0; }
static int use_device(int device) { return rtSetDevice(current_device = device); }
static int info(size_t *free_, size_t *total) { return rtMemGetInfoEx(1, free_, total); }
static int total_of(size_t *bytes, int device) { return *bytes = 0, device; }
static int classic(uint64_t *block, size_t bytes) { return rtMalloc((void **)block, bytes, 2, 0); }
static int cached(uint64_t *block, size_t bytes) {
    return rtMallocCached((void **)block, bytes, 2, 0);
}
static int managed(uint64_t *block, size_t bytes) {
    return rtMemAllocManaged((void **)block, bytes, 0, 0);
}
static int release(uint64_t block) { return rtFree(POINTER(block)); }

static int physical(uint64_t *block, size_t bytes) {
    struct properties properties = {1, (uint32_t)current_device, 0, 1, 1, 0};
    return rtMallocPhysical((void **)block, bytes, &properties, 0);
}
static int release_physical(uint64_t block) { return rtFreePhysical(POINTER(block)); }
static int mapped(uint64_t *block, size_t bytes) {
    uint64_t handle;
    int result = physical(&handle, bytes);
    if (result == 0) {
        result = rtReserveMemAddress((void **)block, bytes, 0, NULL, 0) ||
                 rtMapMem(POINTER(*block), bytes, 0, POINTER(handle), 0) ||
                 release_physical(handle);
    }
    return result;
}
static int release_mapped(uint64_t block) { return rtUnmapMem(POINTER(block)); }

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"cached", cached, release},
    {"managed", managed, release},
    {"physical", physical, release_physical},
    {"mapped", mapped, release_mapped},
    {NULL, NULL, NULL},
};
static int reset(void) { return rtDeviceReset(current_device); }
static int reset_at_once(void) { return rtDeviceResetForce(current_device); }
static const struct extra extras[] = {
    {"reset", reset},
    {"reset_at_once", reset_at_once},
    {NULL, NULL},
};
