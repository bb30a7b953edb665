/* The layer below Ascend's runtime. */
#define LIBRARY "libruntime.so"
#define FUNCTIONS(X)                                                                               \
    X(rtSetDevice, (int32_t))                                                                      \
    X(rtDeviceReset, (int32_t))                                                                    \
    X(rtMalloc, (void **, uint64_t, uint32_t, uint16_t))                                           \
    X(rtMallocCached, (void **, uint64_t, uint32_t, uint16_t))                                     \
    X(rtMemAllocManaged, (void **, uint64_t, uint32_t, uint16_t))                                  \
    X(rtFree, (void *))                                                                            \
    X(rtMemGetInfoEx, (int, size_t *, size_t *))
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

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"cached", cached, release},
    {"managed", managed, release},
    {NULL, NULL, NULL},
};
static int reset(void) { return rtDeviceReset(current_device); }
static const struct extra extras[] = {{"reset", reset}, {NULL, NULL}};
