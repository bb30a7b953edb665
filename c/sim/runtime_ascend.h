/* What libascendcl.so calls of libruntime.so, and the numbers that both return. */
#ifndef HCS_SIM_RUNTIME_ASCEND_H
#define HCS_SIM_RUNTIME_ASCEND_H

#include <stddef.h>
#include <stdint.h>

typedef int32_t rtError_t;

enum {
    ACL_SUCCESS = 0,
    ACL_ERROR_REPEAT_INITIALIZE = 100002,
    ACL_ERROR_REPEAT_FINALIZE = 100037,
    ACL_ERROR_RT_PARAM_INVALID = 107000,
    ACL_ERROR_RT_INVALID_DEVICEID = 107001,
    ACL_ERROR_RT_CONTEXT_NULL = 107002,
    ACL_ERROR_RT_FEATURE_NOT_SUPPORT = 207000,
    ACL_ERROR_RT_MEMORY_ALLOCATION = 207001,
};
enum {
    ACL_HBM_MEM = 1,
    ACL_HBM_MEM_HUGE = 4,
    ACL_HBM_MEM_NORMAL = 5,
};

struct physical_properties { /* aclrtPhysicalMemProp */
    int handle_type, allocation_type, attribute;
    uint32_t location_id;
    int location_type;
    uint64_t reserve;
};
_Static_assert(sizeof(struct physical_properties) == 32, "aclrtPhysicalMemProp");

rtError_t rtGetDeviceCount(int32_t *count);
rtError_t rtSetDevice(int32_t device);
rtError_t rtGetDevice(int32_t *device);
rtError_t rtDeviceReset(int32_t device);
rtError_t rtDeviceResetForce(int32_t device);
rtError_t rtMalloc(void **pointer, uint64_t bytes, uint32_t type, uint16_t module);
rtError_t rtMallocCached(void **pointer, uint64_t bytes, uint32_t type, uint16_t module);
rtError_t rtMemAllocManaged(void **pointer, uint64_t bytes, uint32_t flag, uint16_t module);
rtError_t rtFree(void *pointer);
rtError_t rtMemGetInfo(size_t *free_bytes, size_t *total_bytes);
rtError_t rtMemGetInfoEx(int type, size_t *free_bytes, size_t *total_bytes);
rtError_t rtMallocPhysical(void **handle, size_t bytes,
                           const struct physical_properties *properties, uint64_t flags);
rtError_t rtFreePhysical(void *handle);
rtError_t rtReserveMemAddress(void **address, size_t bytes, size_t alignment, void *wanted,
                              uint64_t flags);
rtError_t rtMapMem(void *address, size_t bytes, size_t offset, void *handle, uint64_t flags);
rtError_t rtUnmapMem(void *address);

#endif
