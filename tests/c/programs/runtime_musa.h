/* Moore Threads' driver API. */
#define LIBRARY "libmusa.so"
#define GET_PROC_ADDRESS "muGetProcAddress"
#define GET_PROC_ADDRESS_HAS_STATUS 0
#define FUNCTIONS(X)                                                                               \
    X(muInit, (unsigned))                                                                          \
    X(muDevicePrimaryCtxRetain, (void **, int))                                                    \
    X(muDevicePrimaryCtxReset_v2, (int))                                                           \
    X(muCtxSetCurrent, (void *))                                                                   \
    X(muMemAlloc_v2, (uint64_t *, size_t))                                                         \
    X(muMemAllocManaged, (uint64_t *, size_t, unsigned))                                           \
    X(muMemFree_v2, (uint64_t))                                                                    \
    X(muMemAllocAsync, (uint64_t *, size_t, void *))                                               \
    X(muMemFreeAsync, (uint64_t, void *))                                                          \
    X(muCtxSynchronize, (void))                                                                    \
    X(muMemAddressReserve, (uint64_t *, size_t, size_t, uint64_t, uint64_t))                       \
    X(muMemCreate, (uint64_t *, size_t, const struct properties *, uint64_t))                      \
    X(muMemMap, (uint64_t, size_t, size_t, uint64_t, uint64_t))                                    \
    X(muMemUnmap, (uint64_t, size_t))                                                              \
    X(muMemRelease, (uint64_t))                                                                    \
    X(muMemGetInfo_v2, (size_t *, size_t *))                                                       \
    X(muDeviceTotalMem_v2, (size_t *, int))
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

static int in_stream(uint64_t *block, size_t bytes) { return muMemAllocAsync(block, bytes, NULL); }
static int release_in_stream(uint64_t block) { return muMemFreeAsync(block, NULL); }

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"managed", managed, release},
    {"async", in_stream, release_in_stream},
    {"physical", physical, release_physical},
    {"mapped", mapped, release_mapped},
    {NULL, NULL, NULL},
};
static int reset(void) { return muDevicePrimaryCtxReset_v2(current_device); }
static int synchronize(void) { return muCtxSynchronize(); }
static const struct extra extras[] = {
    {"reset", reset},
    {"synchronize", synchronize},
    {NULL, NULL},
};
