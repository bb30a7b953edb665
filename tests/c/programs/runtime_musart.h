/* Moore Threads' runtime. */
#define LIBRARY "libmusart.so"
#define FUNCTIONS(X)                                                                               \
    X(musaSetDevice, (int))                                                                        \
    X(musaGetDeviceProperties, (struct device_properties *, int))                                  \
    X(musaGetDeviceProperties_v2, (struct device_properties *, int))                               \
    X(musaDeviceReset, (void))                                                                     \
    X(musaMalloc, (void **, size_t))                                                               \
    X(musaMallocManaged, (void **, size_t, unsigned))                                              \
    X(musaMallocPitch, (void **, size_t *, size_t, size_t))                                        \
    X(musaMalloc3D, (struct pitched *, struct extent))                                             \
    X(musaStreamCreate, (void **))                                                                 \
    X(musaMallocAsync, (void **, size_t, void *))                                                  \
    X(musaMallocAsync_ptsz, (void **, size_t, void *))                                             \
    X(musaMallocFromPoolAsync, (void **, size_t, void *, void *))                                  \
    X(musaMallocFromPoolAsync_ptsz, (void **, size_t, void *, void *))                             \
    X(musaMemPoolCreate, (void **, const struct pool_properties *))                                \
    X(musaMemPoolDestroy, (void *))                                                                \
    X(musaMemPoolTrimTo, (void *, size_t))                                                         \
    X(musaDeviceSynchronize, (void))                                                               \
    X(musaStreamSynchronize, (void *))                                                             \
    X(musaStreamSynchronize_ptsz, (void *))                                                        \
    X(musaEventCreate, (void **))                                                                  \
    X(musaEventRecord, (void *, void *))                                                           \
    X(musaEventSynchronize, (void *))                                                              \
    X(musaEventDestroy, (void *))                                                                  \
    X(musaFree, (void *))                                                                          \
    X(musaFreeAsync, (void *, void *))                                                             \
    X(musaFreeAsync_ptsz, (void *, void *))                                                        \
    X(musaMemGetInfo, (size_t *, size_t *))
struct pitched { void *pointer; size_t pitch, width, height; };
struct extent { size_t width, height, depth; };
struct device_properties { char name[288]; size_t total_bytes; char rest[2048]; };
struct pool_properties { int type, handle_types, location_type, location_id; size_t rest[10]; };
FUNCTIONS(DECLARE)

static int current_device;

static int begin(void) { return 0; }
static int use_device(int device) { return musaSetDevice(current_device = device); }
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
static int solid(uint64_t *block, size_t bytes) {
    struct pitched pitched = {NULL, 0, 0, 0};
    int result = musaMalloc3D(&pitched, (struct extent){1024, 16, bytes / 1024 / 16});
    *block = (uint64_t)(uintptr_t)pitched.pointer;
    return result;
}
static int in_stream(uint64_t *block, size_t bytes) {
    return musaMallocAsync((void **)block, bytes, NULL);
}
static int in_own(uint64_t *block, size_t bytes) {
    return musaMallocAsync_ptsz((void **)block, bytes, NULL);
}
/* In a stream of the card behind the current one. */
static void *next_card_stream;
static int in_next_cards_stream(uint64_t *block, size_t bytes) {
    int result = next_card_stream != NULL
                     ? 0
                     : musaSetDevice(current_device + 1) || musaStreamCreate(&next_card_stream) ||
                           musaSetDevice(current_device);
    return result != 0 ? 999 : musaMallocAsync((void **)block, bytes, next_card_stream);
}
static void *pool;
static int make_pool(void) {
    struct pool_properties properties = {1, 0, 1, current_device, {0}};
    return pool != NULL ? 0 : musaMemPoolCreate(&pool, &properties);
}
static int in_made_pool(uint64_t *block, size_t bytes) {
    return make_pool() || musaMallocFromPoolAsync((void **)block, bytes, pool, NULL) ? 2 : 0;
}
static int in_made_pool_own(uint64_t *block, size_t bytes) {
    return make_pool() || musaMallocFromPoolAsync_ptsz((void **)block, bytes, pool, NULL) ? 2 : 0;
}
static int release(uint64_t block) { return musaFree(POINTER(block)); }
static int release_in_stream(uint64_t block) { return musaFreeAsync(POINTER(block), NULL); }
static int release_in_own(uint64_t block) { return musaFreeAsync_ptsz(POINTER(block), NULL); }

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"managed", managed, release},
    {"pitched", pitched, release},
    {"solid", solid, release},
    {"async", in_stream, release_in_stream},
    {"async_ptsz", in_own, release_in_own},
    {"next_cards_stream", in_next_cards_stream, release_in_stream},
    {"made_pool", in_made_pool, release_in_stream},
    {"made_pool_ptsz", in_made_pool_own, release_in_own},
    {NULL, NULL, NULL},
};
static int reset(void) { return musaDeviceReset(); }
static int synchronize(void) { return musaDeviceSynchronize(); }
static int synchronize_stream(void) { return musaStreamSynchronize(NULL); }
static int synchronize_stream_ptsz(void) { return musaStreamSynchronize_ptsz(NULL); }
static int synchronize_event(void) {
    void *event;
    return musaEventCreate(&event) || musaEventRecord(event, NULL) ||
           musaEventSynchronize(event) || musaEventDestroy(event);
}
static int trim(void) { return musaMemPoolTrimTo(pool, 0); }
static int destroy_pool(void) {
    int result = musaMemPoolDestroy(pool);
    pool = NULL;
    return result;
}
/* The results are MiB. */
static int total_mib(void) {
    struct device_properties properties;
    return musaGetDeviceProperties(&properties, 0) ? -1 : (int)(properties.total_bytes >> 20);
}
static int total_mib_v2(void) {
    struct device_properties properties;
    return musaGetDeviceProperties_v2(&properties, 0) ? -1 : (int)(properties.total_bytes >> 20);
}
static const struct extra extras[] = {
    {"total_mib", total_mib},
    {"total_mib_v2", total_mib_v2},
    {"synchronize_stream", synchronize_stream},
    {"synchronize_stream_ptsz", synchronize_stream_ptsz},
    {"synchronize_event", synchronize_event},
    {"trim", trim},
    {"destroy_pool", destroy_pool},
    {"reset", reset},
    {"synchronize", synchronize},
    {NULL, NULL},
};
