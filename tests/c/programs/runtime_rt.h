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
    X(rtMemMapNoAccess, (void *, size_t, size_t, void *, uint64_t))                                \
    X(rtUnmapMem, (void *))                                                                        \
    X(rtMemRetainAllocationHandle, (void *, void **))                                              \
    X(rtMemAlloc, (void **, uint64_t, int, int, struct config *))                                  \
    X(rtsMalloc, (void **, uint64_t, int, int, struct config *))                                   \
    X(rtsFree, (void *))                                                                           \
    X(rtFreeWithDevSync, (void *))                                                                 \
    X(rtDvppMalloc, (void **, uint64_t, uint16_t))                                                 \
    X(rtDvppMallocWithFlag, (void **, uint64_t, uint32_t, uint16_t))                               \
    X(rtDvppFree, (void *))                                                                        \
    X(rtMemFreeManaged, (void *))                                                                  \
    X(rtsMemMallocPhysical, (void **, size_t, int, struct config *))                               \
    X(rtsMemFreePhysical, (void **))                                                               \
    X(rtsMemMap, (void *, size_t, size_t, void *, uint64_t))                                       \
    X(rtsMemUnmap, (void *))                                                                       \
    X(rtMemPoolCreate, (void **, const struct pool_properties *))                                  \
    X(rtMemPoolDestroy, (void *))                                                                  \
    X(rtMemPoolTrimTo, (void *, uint64_t))                                                         \
    X(rtMemPoolMallocAsync, (void **, uint64_t, void *, void *))                                   \
    X(rtMemPoolFreeAsync, (void *, void *))                                                        \
    X(rtFree, (void *))                                                                            \
    X(rtMemGetInfo, (size_t *, size_t *))                                                          \
    X(rtMemGetInfoEx, (int, size_t *, size_t *))                                                   \
    X(rtsMemGetInfo, (int, size_t *, size_t *))                                                    \
    X(rtIpcOpenMemory, (void **, const char *))                                                    \
    X(rtMemImportFromShareableHandle, (uint64_t, int32_t, void **))                                \
    X(rtsDeviceGetInfo, (uint32_t, int, int64_t *))
struct properties { uint32_t side, device, module, page_type, memory_type; uint64_t rest; };
struct config { struct { int attribute; uint32_t device, rest; } *attributes; size_t count; };
struct pool_properties { uint32_t side, device; int handle_type; size_t max; uint64_t rest; };
FUNCTIONS(DECLARE)

#define STREAM POINTER(1) /* what runs there takes no time */
static int current_device;
static void *pool;

static int begin(void) { return 0; }
static int use_device(int device) { return rtSetDevice(current_device = device); }
/* By all of its names, which say the same. */
static int info(size_t *free_, size_t *total) {
    size_t free_2, total_2, free_3, total_3;
    int result = rtMemGetInfo(free_, total) || rtMemGetInfoEx(1, &free_2, &total_2) ||
                 rtsMemGetInfo(1, &free_3, &total_3);
    int same = *free_ == free_2 && *free_ == free_3 && *total == total_2 && *total == total_3;
    return result != 0 || same ? result : -1;
}
static int total_of(size_t *bytes, int device) {
    return rtsDeviceGetInfo((uint32_t)device, 301, (int64_t *)bytes);
}
static int classic(uint64_t *block, size_t bytes) { return rtMalloc((void **)block, bytes, 2, 0); }
static int huge(uint64_t *block, size_t bytes) {
    return rtMalloc((void **)block, bytes, 0x802, 0);
}
static int small(uint64_t *block, size_t bytes) {
    return rtMalloc((void **)block, bytes, 0x1002, 0);
}
static int giant(uint64_t *block, size_t bytes) {
    return rtMalloc((void **)block, bytes, 0x10002, 0);
}
static int cached(uint64_t *block, size_t bytes) {
    return rtMallocCached((void **)block, bytes, 2, 0);
}
static int managed(uint64_t *block, size_t bytes) {
    return rtMemAllocManaged((void **)block, bytes, 0, 0);
}
static int release(uint64_t block) { return rtFree(POINTER(block)); }
static int release_managed(uint64_t block) { return rtMemFreeManaged(POINTER(block)); }
static int configured(uint64_t *block, size_t bytes) {
    return rtMemAlloc((void **)block, bytes, 0, 0, NULL);
}
static int advised(uint64_t *block, size_t bytes) { /* for the media units */
    return rtMemAlloc((void **)block, bytes, 0, 1, NULL);
}
static int release_in_sync(uint64_t block) { return rtFreeWithDevSync(POINTER(block)); }
static int named(uint64_t *block, size_t bytes) { /* the current card */
    struct config config = {&(__typeof__(*config.attributes)){2, (uint32_t)current_device, 0}, 1};
    return rtsMalloc((void **)block, bytes, 0, 0, &config);
}
static int release_named(uint64_t block) { return rtsFree(POINTER(block)); }
static int media(uint64_t *block, size_t bytes) { return rtDvppMalloc((void **)block, bytes, 0); }
static int media_flagged(uint64_t *block, size_t bytes) {
    return rtDvppMallocWithFlag((void **)block, bytes, 0, 0);
}
static int media_giant(uint64_t *block, size_t bytes) {
    return rtDvppMallocWithFlag((void **)block, bytes, 0x10000, 0);
}
static int release_media(uint64_t block) { return rtDvppFree(POINTER(block)); }

static int behind_handle(uint64_t *block, size_t bytes, uint32_t page_type) {
    struct properties properties = {1, (uint32_t)current_device, 0, page_type, 1, 0};
    return rtMallocPhysical((void **)block, bytes, &properties, 0);
}
static int physical(uint64_t *block, size_t bytes) { return behind_handle(block, bytes, 1); }
static int physical_giant(uint64_t *block, size_t bytes) { return behind_handle(block, bytes, 2); }
static int release_physical(uint64_t block) { return rtFreePhysical(POINTER(block)); }
static int map(uint64_t *block, size_t bytes, int with_access) {
    uint64_t handle;
    int result = physical(&handle, bytes);
    if (result == 0 && rtReserveMemAddress((void **)block, bytes, 0, NULL, 0) == 0) {
        void *address = POINTER(*block), *memory = POINTER(handle);
        result = with_access ? rtMapMem(address, bytes, 0, memory, 0)
                             : rtMemMapNoAccess(address, bytes, 0, memory, 0);
        result = result != 0 ? result : release_physical(handle);
    }
    return result;
}
static int mapped(uint64_t *block, size_t bytes) { return map(block, bytes, 1); }
static int mapped_apart(uint64_t *block, size_t bytes) { return map(block, bytes, 0); }
static int release_mapped(uint64_t block) { return rtUnmapMem(POINTER(block)); }
static int retained(uint64_t *block, size_t bytes) { /* by what it is mapped to */
    uint64_t address;
    int result = mapped(&address, bytes);
    return result != 0 ? result
                       : rtMemRetainAllocationHandle(POINTER(address), (void **)block) ||
                             release_mapped(address);
}
static int physical_2(uint64_t *block, size_t bytes) {
    return rtsMemMallocPhysical((void **)block, bytes, 0x1001, NULL);
}
static int release_physical_2(uint64_t block) { return rtsMemFreePhysical((void **)&block); }
static int mapped_2(uint64_t *block, size_t bytes) {
    uint64_t handle;
    int result = physical_2(&handle, bytes);
    if (result == 0) {
        result = rtReserveMemAddress((void **)block, bytes, 0, NULL, 0) ||
                 rtsMemMap(POINTER(*block), bytes, 0, POINTER(handle), 0) ||
                 release_physical_2(handle);
    }
    return result;
}
static int release_mapped_2(uint64_t block) { return rtsMemUnmap(POINTER(block)); }

static int in_pool(uint64_t *block, size_t bytes) {
    struct pool_properties properties = {1, (uint32_t)current_device, 0, 0, 0};
    int result = pool != NULL ? 0 : rtMemPoolCreate(&pool, &properties);
    return result != 0 ? result : rtMemPoolMallocAsync((void **)block, bytes, pool, STREAM);
}
static int release_in_pool(uint64_t block) { return rtMemPoolFreeAsync(POINTER(block), STREAM); }

static int reset(void) { return rtDeviceReset(current_device); }
static int reset_at_once(void) { return rtDeviceResetForce(current_device); }
static int trim(void) { return rtMemPoolTrimTo(pool, 0); }
static int end_pool(void) { return rtMemPoolDestroy(pool); }
static int import(void) {
    void *imported;
    return rtIpcOpenMemory(&imported, "key") || rtMemImportFromShareableHandle(1, 0, &imported);
}
#include "ascend_extras.h"

static int take_giant_media(void) { return take(media_giant); }

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"small", small, release},
    {"huge", huge, release},
    {"cached", cached, release},
    {"managed", managed, release_managed},
    {"configured", configured, release_in_sync},
    {"advised", advised, release_in_sync},
    {"named", named, release_named},
    {"media", media, release_media},
    {"media_flagged", media_flagged, release_media},
    {"physical_2", physical_2, release_physical_2},
    {"mapped_2", mapped_2, release_mapped_2},
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
    {"take_giant_media", take_giant_media},
    {"import", import},
    {NULL, NULL},
};
