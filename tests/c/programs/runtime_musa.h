/* Moore Threads' driver API. */
#define LIBRARY "libmusa.so"
#define GET_PROC_ADDRESS "muGetProcAddress"
#define GET_PROC_ADDRESS_HAS_STATUS 0
#define FUNCTIONS(X)                                                                               \
    X(muInit, (unsigned))                                                                          \
    X(muDevicePrimaryCtxRetain, (void **, int))                                                    \
    X(muDevicePrimaryCtxRelease_v2, (int))                                                         \
    X(muDevicePrimaryCtxReset_v2, (int))                                                           \
    X(muCtxSetCurrent, (void *))                                                                   \
    X(muMemAlloc_v2, (uint64_t *, size_t))                                                         \
    X(muMemAllocManaged, (uint64_t *, size_t, unsigned))                                           \
    X(muMemFree_v2, (uint64_t))                                                                    \
    X(muMemAllocPitch_v2, (uint64_t *, size_t *, size_t, size_t, unsigned))                        \
    X(muStreamCreate, (void **, unsigned))                                                         \
    X(muMemAllocAsync, (uint64_t *, size_t, void *))                                               \
    X(muMemAllocAsync_ptsz, (uint64_t *, size_t, void *))                                          \
    X(muMemAllocFromPoolAsync, (uint64_t *, size_t, void *, void *))                               \
    X(muMemAllocFromPoolAsync_ptsz, (uint64_t *, size_t, void *, void *))                          \
    X(muMemFreeAsync, (uint64_t, void *))                                                          \
    X(muMemFreeAsync_ptsz, (uint64_t, void *))                                                     \
    X(muMemPoolCreate, (void **, const struct pool_properties *))                                  \
    X(muMemPoolDestroy, (void *))                                                                  \
    X(muMemPoolTrimTo, (void *, size_t))                                                           \
    X(muCtxSynchronize, (void))                                                                    \
    X(muStreamSynchronize, (void *))                                                               \
    X(muStreamSynchronize_ptsz, (void *))                                                          \
    X(muEventCreate, (void **, unsigned))                                                          \
    X(muEventRecord, (void *, void *))                                                             \
    X(muEventSynchronize, (void *))                                                                \
    X(muEventDestroy_v2, (void *))                                                                 \
    X(muMemAddressReserve, (uint64_t *, size_t, size_t, uint64_t, uint64_t))                       \
    X(muMemCreate, (uint64_t *, size_t, const struct properties *, uint64_t))                      \
    X(muMemMap, (uint64_t, size_t, size_t, uint64_t, uint64_t))                                    \
    X(muMemUnmap, (uint64_t, size_t))                                                              \
    X(muMemRetainAllocationHandle, (uint64_t *, void *))                                           \
    X(muMemRelease, (uint64_t))                                                                    \
    X(muMemGetInfo_v2, (size_t *, size_t *))                                                       \
    X(muDeviceTotalMem_v2, (size_t *, int))
struct pool_properties { int type, handle_types, location_type, location_id; size_t rest[10]; };
struct properties { int type, handle_types, location_type, location_id; void *meta; char rest[8]; };
FUNCTIONS(DECLARE)

static int current_device;
static size_t mapped_bytes;

static int begin(void) { return muInit(0); }
static int use_device(int device) {
    void *context;
    int result = muDevicePrimaryCtxRetain(&context, current_device = device);
    return result != 0 ? result : muCtxSetCurrent(context);
}
static int info(size_t *free_, size_t *total) { return muMemGetInfo_v2(free_, total); }
static int total_of(size_t *bytes, int device) { return muDeviceTotalMem_v2(bytes, device); }
static int classic(uint64_t *block, size_t bytes) { return muMemAlloc_v2(block, bytes); }
static int managed(uint64_t *block, size_t bytes) { return muMemAllocManaged(block, bytes, 1); }
static int pitched(uint64_t *block, size_t bytes) {
    size_t pitch;
    return muMemAllocPitch_v2(block, &pitch, 1024, bytes / 1024, 4);
}
static int release(uint64_t block) { return muMemFree_v2(block); }
static int physical(uint64_t *block, size_t bytes) {
    struct properties properties = {1, 0, 1, current_device, NULL, {0}};
    return muMemCreate(block, bytes, &properties, 0);
}
static int release_physical(uint64_t block) { return muMemRelease(block); }
static int mapped(uint64_t *block, size_t bytes) {
    uint64_t handle;
    int result = physical(&handle, bytes);
    if (result == 0) {
        mapped_bytes = bytes;
        result = muMemAddressReserve(block, bytes, 0, 0, 0) ||
                 muMemMap(*block, bytes, 0, handle, 0) || muMemRelease(handle);
    }
    return result;
}
static int release_mapped(uint64_t block) { return muMemUnmap(block, mapped_bytes); }
static int retained(uint64_t *block, size_t bytes) { /* by what it is mapped to */
    uint64_t address;
    int result = mapped(&address, bytes);
    return result != 0 ? result
                       : muMemRetainAllocationHandle(block, POINTER(address)) ||
                             release_mapped(address);
}

static int in_stream(uint64_t *block, size_t bytes) { return muMemAllocAsync(block, bytes, NULL); }
static int in_own(uint64_t *block, size_t bytes) {
    return muMemAllocAsync_ptsz(block, bytes, NULL);
}
/* In a stream of the card behind the current one. */
static void *next_card_stream;
static int in_next_cards_stream(uint64_t *block, size_t bytes) {
    int device = current_device;
    int result = next_card_stream != NULL
                     ? 0
                     : use_device(device + 1) || muStreamCreate(&next_card_stream, 0) ||
                           use_device(device);
    return result != 0 ? 999 : muMemAllocAsync(block, bytes, next_card_stream);
}
static void *pool;
static int make_pool(void) {
    struct pool_properties properties = {1, 0, 1, current_device, {0}};
    return pool != NULL ? 0 : muMemPoolCreate(&pool, &properties);
}
static int in_made_pool(uint64_t *block, size_t bytes) {
    return make_pool() || muMemAllocFromPoolAsync(block, bytes, pool, NULL) ? 2 : 0;
}
static int in_made_pool_own(uint64_t *block, size_t bytes) {
    return make_pool() || muMemAllocFromPoolAsync_ptsz(block, bytes, pool, NULL) ? 2 : 0;
}
static int release_in_stream(uint64_t block) { return muMemFreeAsync(block, NULL); }
static int release_in_own(uint64_t block) { return muMemFreeAsync_ptsz(block, NULL); }

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"managed", managed, release},
    {"pitched", pitched, release},
    {"async", in_stream, release_in_stream},
    {"async_ptsz", in_own, release_in_own},
    {"next_cards_stream", in_next_cards_stream, release_in_stream},
    {"made_pool", in_made_pool, release_in_stream},
    {"made_pool_ptsz", in_made_pool_own, release_in_own},
    {"retained", retained, release_physical},
    {"physical", physical, release_physical},
    {"mapped", mapped, release_mapped},
    {NULL, NULL, NULL},
};
static int reset(void) { return muDevicePrimaryCtxReset_v2(current_device); }
static int synchronize(void) { return muCtxSynchronize(); }
static int synchronize_stream(void) { return muStreamSynchronize(NULL); }
static int synchronize_stream_ptsz(void) { return muStreamSynchronize_ptsz(NULL); }
static int synchronize_event(void) {
    void *event;
    return muEventCreate(&event, 0) || muEventRecord(event, NULL) || muEventSynchronize(event) ||
           muEventDestroy_v2(event);
}
static int trim(void) { return muMemPoolTrimTo(pool, 0); }
static int destroy_pool(void) {
    int result = muMemPoolDestroy(pool);
    pool = NULL;
    return result;
}
static int release_primary(void) { return muDevicePrimaryCtxRelease_v2(current_device); }
static const struct extra extras[] = {
    {"release_primary", release_primary},
    {"synchronize_stream", synchronize_stream},
    {"synchronize_stream_ptsz", synchronize_stream_ptsz},
    {"synchronize_event", synchronize_event},
    {"trim", trim},
    {"destroy_pool", destroy_pool},
    {"reset", reset},
    {"synchronize", synchronize},
    {NULL, NULL},
};
