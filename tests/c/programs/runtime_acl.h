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
    X(aclrtMemMapNoAccess, (void *, size_t, size_t, void *, uint64_t))                             \
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
    X(aclrtIpcMemImportByKey, (void **, const char *, uint64_t))                                   \
    X(aclrtMemImportFromShareableHandle, (uint64_t, int32_t, void **))                             \
    X(aclrtMemImportFromShareableHandleV2, (void *, int, uint64_t, void **))                       \
    X(aclrtGetMemInfo, (int, size_t *, size_t *))
struct properties { int handle_type, type, attribute; uint32_t id; int location; uint64_t rest; };
struct config { struct { int attribute; uint32_t device, rest; } *attributes; size_t count; };
struct pool_properties { int type, handle_type; uint32_t id; int location; size_t max, rest[4]; };
FUNCTIONS(DECLARE)

#define STREAM POINTER(1) /* what runs there takes no time */
static int current_device;
static void *pool;

static int begin(void) { return aclInit(NULL); }
static int use_device(int device) { return aclrtSetDevice(current_device = device); }
static int info(size_t *free_, size_t *total) { return aclrtGetMemInfo(1, free_, total); }
static int total_of(size_t *bytes, int device) {
    return aclrtGetDeviceInfo((uint32_t)device, 301, (int64_t *)bytes);
}
static int classic(uint64_t *block, size_t bytes) { return aclrtMalloc((void **)block, bytes, 0); }
static int huge(uint64_t *block, size_t bytes) { return aclrtMalloc((void **)block, bytes, 1); }
static int small(uint64_t *block, size_t bytes) { return aclrtMalloc((void **)block, bytes, 2); }
static int giant(uint64_t *block, size_t bytes) { return aclrtMalloc((void **)block, bytes, 6); }
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
static int behind_handle(uint64_t *block, size_t bytes, int attribute) {
    struct properties properties = {0, 0, attribute, (uint32_t)current_device, 1, 0};
    return aclrtMallocPhysical((void **)block, bytes, &properties, 0);
}
static int physical(uint64_t *block, size_t bytes) { return behind_handle(block, bytes, 4); }
static int physical_giant(uint64_t *block, size_t bytes) {
    return behind_handle(block, bytes, 10);
}
static int release_physical(uint64_t block) { return aclrtFreePhysical(POINTER(block)); }
static int map(uint64_t *block, size_t bytes, int with_access) {
    uint64_t handle;
    int result = physical(&handle, bytes);
    if (result == 0 && aclrtReserveMemAddress((void **)block, bytes, 0, NULL, 0) == 0) {
        void *address = POINTER(*block), *memory = POINTER(handle);
        result = with_access ? aclrtMapMem(address, bytes, 0, memory, 0)
                             : aclrtMemMapNoAccess(address, bytes, 0, memory, 0);
        result = result != 0 ? result : release_physical(handle);
    }
    return result;
}
static int mapped(uint64_t *block, size_t bytes) { return map(block, bytes, 1); }
static int mapped_apart(uint64_t *block, size_t bytes) { return map(block, bytes, 0); }
static int release_mapped(uint64_t block) { return aclrtUnmapMem(POINTER(block)); }
static int retained(uint64_t *block, size_t bytes) { /* by what it is mapped to */
    uint64_t address;
    int result = mapped(&address, bytes);
    return result != 0 ? result
                       : aclrtMemRetainAllocationHandle(POINTER(address), (void **)block) ||
                             release_mapped(address);
}

static int in_pool(uint64_t *block, size_t bytes) {
    struct pool_properties properties = {0, 0, (uint32_t)current_device, 1, 0, {0}};
    int result = pool != NULL ? 0 : aclrtMemPoolCreate(&pool, &properties);
    return result != 0 ? result : aclrtMemPoolMallocAsync((void **)block, bytes, pool, STREAM);
}
static int release_in_pool(uint64_t block) {
    return aclrtMemPoolFreeAsync(POINTER(block), STREAM);
}

static int reset(void) { return aclrtResetDevice(current_device); }
static int reset_at_once(void) { return aclrtResetDeviceForce(current_device); }
static int trim(void) { return aclrtMemPoolTrimTo(pool, 0); }
static int end_pool(void) { return aclrtMemPoolDestroy(pool); }
static int import(void) {
    void *imported = NULL;
    return aclrtIpcMemImportByKey(&imported, "key", 0) ||
           aclrtMemImportFromShareableHandle(1, 0, &imported) ||
           aclrtMemImportFromShareableHandleV2(&imported, 1, 0, &imported);
}
#include "ascend_extras.h"

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"small", small, release},
    {"huge", huge, release},
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
    {"mapped_apart", mapped_apart, release_mapped},
    {NULL, NULL, NULL},
};
static const struct extra extras[] = {
    ASCEND_EXTRAS,
    {"import", import},
    {NULL, NULL},
};
