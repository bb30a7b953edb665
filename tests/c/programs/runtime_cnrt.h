/* Cambricon's runtime. */
#define LIBRARY "libcnrt.so"
#define FUNCTIONS(X)                                                                               \
    X(cnrtSetDevice, (int))                                                                        \
    X(cnrtDeviceReset, (void))                                                                     \
    X(cnrtMalloc, (void **, size_t))                                                               \
    X(cnrtMallocConstant, (void **, size_t))                                                       \
    X(cnrtQueueCreate, (void **))                                                                  \
    X(cnrtMemAllocAsync, (void **, size_t, void *))                                                \
    X(cnrtMemAllocFromPoolAsync, (void **, size_t, void *, void *))                                \
    X(cnrtMemPoolCreate, (void **, const struct pool_properties *))                                \
    X(cnrtMemPoolDestroy, (void *))                                                                \
    X(cnrtMemPoolTrimTo, (void *, size_t))                                                         \
    X(cnrtDeviceGetAttribute, (int *, int, int))                                                   \
    X(cnrtSyncDevice, (void))                                                                      \
    X(cnrtQueueSync, (void *))                                                                     \
    X(cnrtFree, (void *))                                                                          \
    X(cnrtMemFreeAsync, (void *, void *))                                                          \
    X(cnrtMapMemHandle, (void **, void *, int))                                                    \
    X(cnrtMemGetInfo, (size_t *, size_t *))
struct pool_properties { int type, handle_types, location; uint32_t id; size_t max, rest[8]; };
FUNCTIONS(DECLARE)

static int current_device;

static int begin(void) { return 0; }
static int use_device(int device) { return cnrtSetDevice(current_device = device); }
static int info(size_t *free_, size_t *total) { return cnrtMemGetInfo(free_, total); }
static int total_of(size_t *bytes, int device) { /* two names for it */
    int available, total;
    int result = cnrtDeviceGetAttribute(&total, 0x405, device) ||
                 cnrtDeviceGetAttribute(&available, 0x312, device);
    *bytes = (size_t)total << 20;
    return result != 0 || available == total ? result : -1;
}
static int classic(uint64_t *block, size_t bytes) { return cnrtMalloc((void **)block, bytes); }
static int constant(uint64_t *block, size_t bytes) {
    return cnrtMallocConstant((void **)block, bytes);
}
static int in_queue(uint64_t *block, size_t bytes) {
    return cnrtMemAllocAsync((void **)block, bytes, NULL);
}
/* In a queue of the card behind the current one. */
static void *next_card_queue;
static int in_next_cards_queue(uint64_t *block, size_t bytes) {
    int result = next_card_queue != NULL
                     ? 0
                     : cnrtSetDevice(current_device + 1) || cnrtQueueCreate(&next_card_queue) ||
                           cnrtSetDevice(current_device);
    return result != 0 ? 999 : cnrtMemAllocAsync((void **)block, bytes, next_card_queue);
}
static void *pool;
static int in_made_pool(uint64_t *block, size_t bytes) {
    struct pool_properties properties = {1, 0, 1, (uint32_t)current_device, 0, {0}};
    int result = pool != NULL ? 0 : cnrtMemPoolCreate(&pool, &properties);
    return result != 0 ? result : cnrtMemAllocFromPoolAsync((void **)block, bytes, pool, NULL);
}
static int release(uint64_t block) { return cnrtFree(POINTER(block)); }
static int release_in_queue(uint64_t block) { return cnrtMemFreeAsync(POINTER(block), NULL); }

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"constant", constant, release},
    {"async", in_queue, release_in_queue},
    {"next_cards_stream", in_next_cards_queue, release_in_queue},
    {"made_pool", in_made_pool, release_in_queue},
    {NULL, NULL, NULL},
};
static int reset(void) { return cnrtDeviceReset(); }
static int synchronize(void) { return cnrtSyncDevice(); }
static int synchronize_stream(void) { return cnrtQueueSync(NULL); }
static int trim(void) { return cnrtMemPoolTrimTo(pool, 0); }
static int destroy_pool(void) {
    int result = cnrtMemPoolDestroy(pool);
    pool = NULL;
    return result;
}
static int import(void) {
    void *imported;
    return cnrtMapMemHandle(&imported, NULL, 0);
}
static const struct extra extras[] = {
    {"import", import},
    {"synchronize_stream", synchronize_stream},
    {"trim", trim},
    {"destroy_pool", destroy_pool},
    {"reset", reset},
    {"synchronize", synchronize},
    {NULL, NULL},
};
