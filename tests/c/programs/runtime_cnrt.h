/* Cambricon's runtime. */
#define LIBRARY "libcnrt.so"
#define FUNCTIONS(X)                                                                               \
    X(cnrtSetDevice, (int))                                                                        \
    X(cnrtDeviceReset, (void))                                                                     \
    X(cnrtMalloc, (void **, size_t))                                                               \
    X(cnrtMallocConstant, (void **, size_t))                                                       \
    X(cnrtMemAllocAsync, (void **, size_t, void *))                                                \
    X(cnrtSyncDevice, (void))                                                                      \
    X(cnrtFree, (void *))                                                                          \
    X(cnrtMemFreeAsync, (void *, void *))                                                          \
    X(cnrtMemGetInfo, (size_t *, size_t *))
FUNCTIONS(DECLARE)

static int begin(void) { return 0; }
static int use_device(int device) { return cnrtSetDevice(device); }
static int info(size_t *free_, size_t *total) { return cnrtMemGetInfo(free_, total); }
static int total_of(size_t *bytes, int device) { return *bytes = 0, device; }
static int classic(uint64_t *block, size_t bytes) { return cnrtMalloc((void **)block, bytes); }
static int constant(uint64_t *block, size_t bytes) {
    return cnrtMallocConstant((void **)block, bytes);
}
static int in_queue(uint64_t *block, size_t bytes) {
    return cnrtMemAllocAsync((void **)block, bytes, NULL);
}
static int release(uint64_t block) { return cnrtFree(POINTER(block)); }
static int release_in_queue(uint64_t block) { return cnrtMemFreeAsync(POINTER(block), NULL); }

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"constant", constant, release},
    {"async", in_queue, release_in_queue},
    {NULL, NULL, NULL},
};
static int reset(void) { return cnrtDeviceReset(); }
static int synchronize(void) { return cnrtSyncDevice(); }
static const struct extra extras[] = {
    {"reset", reset},
    {"synchronize", synchronize},
    {NULL, NULL},
};
