/* Moore Threads' runtime. */
#define LIBRARY "libmusart.so"
#define FUNCTIONS(X)                                                                               \
    X(musaSetDevice, (int))                                                                        \
    X(musaDeviceReset, (void))                                                                     \
    X(musaMalloc, (void **, size_t))                                                               \
    X(musaMallocManaged, (void **, size_t, unsigned))                                              \
    X(musaMallocPitch, (void **, size_t *, size_t, size_t))                                        \
    X(musaMallocAsync, (void **, size_t, void *))                                                  \
    X(musaDeviceSynchronize, (void))                                                               \
    X(musaFree, (void *))                                                                          \
    X(musaFreeAsync, (void *, void *))                                                             \
    X(musaMemGetInfo, (size_t *, size_t *))
FUNCTIONS(DECLARE)

static int begin(void) { return 0; }
static int use_device(int device) { return musaSetDevice(device); }
static int info(size_t *free_, size_t *total) { return musaMemGetInfo(free_, total); }
static int total_of(size_t *bytes, int device) { return *bytes = 0, device; }
static int classic(uint64_t *block, size_t bytes) { return musaMalloc((void **)block, bytes); }
static int managed(uint64_t *block, size_t bytes) {
    return musaMallocManaged((void **)block, bytes, 1);
}
static int pitched(uint64_t *block, size_t bytes) {
    size_t pitch;
    return musaMallocPitch((void **)block, &pitch, 1024, bytes / 1024);
}
static int in_stream(uint64_t *block, size_t bytes) {
    return musaMallocAsync((void **)block, bytes, NULL);
}
static int release(uint64_t block) { return musaFree(POINTER(block)); }
static int release_in_stream(uint64_t block) { return musaFreeAsync(POINTER(block), NULL); }

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"managed", managed, release},
    {"pitched", pitched, release},
    {"async", in_stream, release_in_stream},
    {NULL, NULL, NULL},
};
static int reset(void) { return musaDeviceReset(); }
static int synchronize(void) { return musaDeviceSynchronize(); }
static const struct extra extras[] = {
    {"reset", reset},
    {"synchronize", synchronize},
    {NULL, NULL},
};
