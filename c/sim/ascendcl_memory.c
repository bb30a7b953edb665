/* What the simulated libascendcl.so allocates besides aclrtMalloc; as there, libruntime.so does
 * it. */
#include <stddef.h>
#include <stdint.h>

#include "runtime_ascend.h"

#define HCS_EXPORT __attribute__((visibility("default")))
#define MODULE 33 /* what libascendcl.so calls itself */

enum { ADVICE_NONE = 0, ADVICE_TASK_SCHEDULER = 2 };
enum { ATTACH_GLOBAL = 1, LOCATION_DEVICE = 1 };

typedef int aclError;

struct acl_pool_properties { /* aclrtMemPoolProps */
    int allocation_type, handle_type;
    uint32_t location_id;
    int location_type;
    size_t bytes_max;
    unsigned char reserved[32];
};
_Static_assert(sizeof(struct acl_pool_properties) == 56, "aclrtMemPoolProps");

aclError aclrtMallocWithCfg(void **pointer, size_t bytes, int policy,
                            struct allocation_config *config);
aclError aclrtMallocForTaskScheduler(void **pointer, size_t bytes, int policy,
                                     struct allocation_config *config);
aclError aclrtMemAllocManaged(void **pointer, uint64_t bytes, uint32_t flag);
aclError aclrtMemRetainAllocationHandle(void *address, void **handle);
aclError aclrtGetDeviceInfo(uint32_t device, int attribute, int64_t *value);
aclError aclrtMemPoolCreate(void **pool, const struct acl_pool_properties *properties);
aclError aclrtMemPoolDestroy(void *pool);
aclError aclrtMemPoolGetAttr(void *pool, int attribute, void *value);
aclError aclrtMemPoolTrimTo(void *pool, size_t keep_bytes);
aclError aclrtMemPoolMallocAsync(void **pointer, size_t bytes, void *pool, void *stream);
aclError aclrtMemPoolFreeAsync(void *pointer, void *stream);
aclError aclrtIpcMemImportByKey(void **pointer, const char *key, uint64_t flags);
aclError aclrtMemImportFromShareableHandle(uint64_t exported, int32_t device, void **handle);
aclError aclrtMemImportFromShareableHandleV2(void *exported, int type, uint64_t flags,
                                             void **handle);

/* (With a configuration nothing is added to the size.) */
HCS_EXPORT aclError aclrtMallocWithCfg(void **pointer, size_t bytes, int policy,
                                       struct allocation_config *config) {
    return rtsMalloc(pointer, bytes, policy, ADVICE_NONE, config);
}

HCS_EXPORT aclError aclrtMallocForTaskScheduler(void **pointer, size_t bytes, int policy,
                                                struct allocation_config *config) {
    return rtsMalloc(pointer, bytes, policy, ADVICE_TASK_SCHEDULER, config);
}

HCS_EXPORT aclError aclrtMemAllocManaged(void **pointer, uint64_t bytes, uint32_t flag) {
    (void)flag;
    return rtMemAllocManaged(pointer, bytes, ATTACH_GLOBAL, MODULE);
}

HCS_EXPORT aclError aclrtMemRetainAllocationHandle(void *address, void **handle) {
    return rtMemRetainAllocationHandle(address, handle);
}

HCS_EXPORT aclError aclrtGetDeviceInfo(uint32_t device, int attribute, int64_t *value) {
    return rtsDeviceGetInfo(device, attribute, value);
}

HCS_EXPORT aclError aclrtMemPoolCreate(void **pool,
                                       const struct acl_pool_properties *properties) {
    if (properties == NULL || properties->location_type != LOCATION_DEVICE) {
        return ACL_ERROR_RT_PARAM_INVALID;
    }
    struct pool_properties below = {.side = LOCATION_DEVICE,
                                    .device = properties->location_id,
                                    .handle_type = properties->handle_type,
                                    .bytes_max = properties->bytes_max};
    return rtMemPoolCreate(pool, &below);
}

HCS_EXPORT aclError aclrtMemPoolDestroy(void *pool) { return rtMemPoolDestroy(pool); }

HCS_EXPORT aclError aclrtMemPoolGetAttr(void *pool, int attribute, void *value) {
    return rtMemPoolGetAttr(pool, attribute, value);
}

HCS_EXPORT aclError aclrtMemPoolTrimTo(void *pool, size_t keep_bytes) {
    return rtMemPoolTrimTo(pool, keep_bytes);
}

HCS_EXPORT aclError aclrtMemPoolMallocAsync(void **pointer, size_t bytes, void *pool,
                                            void *stream) {
    return rtMemPoolMallocAsync(pointer, bytes, pool, stream);
}

HCS_EXPORT aclError aclrtMemPoolFreeAsync(void *pointer, void *stream) {
    return rtMemPoolFreeAsync(pointer, stream);
}

HCS_EXPORT aclError aclrtIpcMemImportByKey(void **pointer, const char *key, uint64_t flags) {
    (void)flags;
    return rtIpcOpenMemory(pointer, key);
}

HCS_EXPORT aclError aclrtMemImportFromShareableHandle(uint64_t exported, int32_t device,
                                                      void **handle) {
    return rtMemImportFromShareableHandle(exported, device, handle);
}

HCS_EXPORT aclError aclrtMemImportFromShareableHandleV2(void *exported, int type, uint64_t flags,
                                                        void **handle) {
    (void)type;
    (void)flags;
    return rtMemImportFromShareableHandle((uint64_t)(uintptr_t)exported, 0, handle);
}
