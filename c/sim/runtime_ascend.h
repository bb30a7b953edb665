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
    ACL_ERROR_RT_EVENT_TIMESTAMP_INVALID = 107006,
    ACL_ERROR_RT_EVENT_CAPTURED = 107028,
    ACL_ERROR_RT_CAPTURE_MODE_NOT_SUPPORT = 107030,
    ACL_ERROR_RT_FEATURE_NOT_SUPPORT = 207000,
    ACL_ERROR_RT_MEMORY_ALLOCATION = 207001,
    ACL_ERROR_RT_RESOURCE_ALLOC_FAIL = 207005,
    ACL_ERROR_RT_STREAM_CAPTURE_INVALIDATED = 507903,
};
enum {
    ACL_HBM_MEM = 1,
    ACL_HBM_MEM_HUGE = 4,
    ACL_HBM_MEM_NORMAL = 5,
    ACL_HBM_MEM_P2P_NORMAL = 9,
    ACL_HBM_MEM_HUGE1G = 10,
    ACL_HBM_MEM_P2P_HUGE1G = 11,
    ACL_MEM_NORMAL = 12,
    ACL_MEM_HUGE1G = 14,
    ACL_MEM_P2P_NORMAL = 15,
    ACL_MEM_P2P_HUGE1G = 17,
};

enum { /* of rtMemType_t, beside the kind of memory */
    RT_MEMORY_POLICY_HUGE_PAGE_FIRST = 0x400,
    RT_MEMORY_POLICY_HUGE_PAGE_ONLY = 0x800,
    RT_MEMORY_POLICY_DEFAULT_PAGE_ONLY = 0x1000,
    RT_MEMORY_POLICY_HUGE_PAGE_FIRST_P2P = 0x2000,
    RT_MEMORY_POLICY_HUGE_PAGE_ONLY_P2P = 0x4000,
    RT_MEMORY_POLICY_DEFAULT_PAGE_ONLY_P2P = 0x8000,
    RT_MEMORY_POLICY_HUGE1G_PAGE_ONLY = 0x10000,
    RT_MEMORY_POLICY_HUGE1G_PAGE_ONLY_P2P = 0x20000,
};
/* The n-th of them is what the n-th policy of both layers asks for; there are no others. */
static inline uint32_t hcs_sim_ascend_type(int policy) {
    return policy >= 0 && policy <= 7 ? (uint32_t)RT_MEMORY_POLICY_HUGE_PAGE_FIRST << policy : 0;
}

enum {
    RT_EVENT_INIT = 0,
    RT_EVENT_RECORDED = 1,
};
enum { RT_EVENT_DEFAULT = 0xe };
enum { RT_STREAM_PRIORITY_DEFAULT = 0 };

struct physical_properties { /* aclrtPhysicalMemProp */
    int handle_type, allocation_type, attribute;
    uint32_t location_id;
    int location_type;
    uint64_t reserve;
};
_Static_assert(sizeof(struct physical_properties) == 32, "aclrtPhysicalMemProp");
struct driver_properties { /* rtDrvMemProp_t */
    uint32_t side, device, module, page_type, memory_type;
    uint64_t reserve;
};
_Static_assert(sizeof(struct driver_properties) == 32, "rtDrvMemProp_t");
struct allocation_config { /* rtMallocConfig_t, aclrtMallocConfig */
    struct { int attribute; uint32_t device, rest; } *attributes;
    size_t count;
};
_Static_assert(sizeof(*((struct allocation_config *)NULL)->attributes) == 12,
               "rtMallocAttribute_t");
struct pool_properties { /* rtMemPoolProps */
    uint32_t side, device;
    int handle_type;
    size_t bytes_max;
    uint64_t reserve;
};

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
rtError_t rtIpcOpenMemory(void **pointer, const char *key);
rtError_t rtMemImportFromShareableHandle(uint64_t exported, int32_t device, void **handle);
rtError_t rtMallocPhysical(void **handle, size_t bytes, struct driver_properties *properties,
                           uint64_t flags);
rtError_t rtFreePhysical(void *handle);
rtError_t rtReserveMemAddress(void **address, size_t bytes, size_t alignment, void *wanted,
                              uint64_t flags);
rtError_t rtMapMem(void *address, size_t bytes, size_t offset, void *handle, uint64_t flags);
rtError_t rtMemMapNoAccess(void *address, size_t bytes, size_t offset, void *handle,
                           uint64_t flags);
rtError_t rtUnmapMem(void *address);
rtError_t rtMemAlloc(void **pointer, uint64_t bytes, int policy, int advice,
                     struct allocation_config *config);
rtError_t rtsMalloc(void **pointer, uint64_t bytes, int policy, int advice,
                    struct allocation_config *config);
rtError_t rtsFree(void *pointer);
rtError_t rtFreeWithDevSync(void *pointer);
rtError_t rtDvppMallocWithFlag(void **pointer, uint64_t bytes, uint32_t flag, uint16_t module);
rtError_t rtDvppMalloc(void **pointer, uint64_t bytes, uint16_t module);
rtError_t rtDvppFree(void *pointer);
rtError_t rtMemFreeManaged(void *pointer);
rtError_t rtsMemMallocPhysical(void **handle, size_t bytes, int policy,
                               struct allocation_config *config);
rtError_t rtsMemFreePhysical(void **handle);
rtError_t rtsMemMap(void *address, size_t bytes, size_t offset, void *handle, uint64_t flags);
rtError_t rtsMemUnmap(void *address);
rtError_t rtMemRetainAllocationHandle(void *address, void **handle);
rtError_t rtsMemGetInfo(int type, size_t *free_bytes, size_t *total_bytes);
rtError_t rtsDeviceGetInfo(uint32_t device, int attribute, int64_t *value);
rtError_t rtMemPoolCreate(void **pool, const struct pool_properties *properties);
rtError_t rtMemPoolDestroy(void *pool);
rtError_t rtMemPoolGetAttr(void *pool, int attribute, void *value);
rtError_t rtMemPoolTrimTo(void *pool, uint64_t keep_bytes);
rtError_t rtMemPoolMallocAsync(void **pointer, uint64_t bytes, void *pool, void *stream);
rtError_t rtMemPoolFreeAsync(void *pointer, void *stream);

rtError_t rtStreamCreate(void **stream, int32_t priority);
rtError_t rtStreamDestroy(void *stream);
rtError_t rtStreamSynchronize(void *stream);
rtError_t rtDeviceSynchronize(void);
rtError_t rtEventCreateWithFlag(void **event, uint32_t flags);
rtError_t rtEventCreate(void **event);
rtError_t rtEventDestroy(void *event);
rtError_t rtEventRecord(void *event, void *stream);
rtError_t rtEventSynchronize(void *event);
rtError_t rtEventQueryStatus(void *event, int *status);
rtError_t rtEventElapsedTime(float *milliseconds, void *start, void *end);
rtError_t rtKernelLaunch(const void *function, uint32_t blocks, void *arguments, uint32_t bytes,
                         void *memory, void *stream);
rtError_t rtKernelLaunchWithFlag(const void *function, uint32_t blocks, void *arguments,
                                 void *memory, void *stream, uint32_t flags);
rtError_t rtKernelLaunchWithFlagV2(const void *function, uint32_t blocks, void *arguments,
                                   void *memory, void *stream, uint32_t flags,
                                   const void *settings);
rtError_t rtKernelLaunchWithHandle(void *handle, uint64_t key, uint32_t blocks, void *arguments,
                                   void *memory, void *stream, const void *information);
rtError_t rtKernelLaunchWithHandleV2(void *handle, uint64_t key, uint32_t blocks, void *arguments,
                                     void *memory, void *stream, const void *settings);
rtError_t rtVectorCoreKernelLaunch(const void *function, uint32_t blocks, void *arguments,
                                   void *memory, void *stream, uint32_t flags,
                                   const void *settings);
rtError_t rtVectorCoreKernelLaunchWithHandle(void *handle, uint64_t key, uint32_t blocks,
                                             void *arguments, void *memory, void *stream,
                                             const void *settings);
rtError_t rtLaunchKernelByFuncHandle(void *function, uint32_t blocks, void *arguments,
                                     void *stream);
rtError_t rtLaunchKernelByFuncHandleV2(void *function, uint32_t blocks, void *arguments,
                                       void *stream, const void *settings);
rtError_t rtLaunchKernelByFuncHandleV3(void *function, uint32_t blocks, const void *arguments,
                                       void *stream, const void *settings);
rtError_t rtLaunchKernelWithArgsArray(void *function, uint32_t blocks, void *stream, void *settings,
                                      void **arguments);
rtError_t rtsLaunchKernelWithConfig(void *function, uint32_t blocks, void *stream, void *settings,
                                    void *arguments, void *reserved);
rtError_t rtsLaunchKernelWithDevArgs(void *function, uint32_t blocks, void *stream, void *settings,
                                     const void *arguments, uint32_t bytes, void *reserved);
rtError_t rtsLaunchKernelWithHostArgs(void *function, uint32_t blocks, void *stream, void *settings,
                                      void *arguments, uint32_t bytes, void *places,
                                      uint32_t place_count);
rtError_t rtFftsTaskLaunch(void *tasks, void *stream);
rtError_t rtFftsTaskLaunchWithFlag(void *tasks, void *stream, uint32_t flags);
rtError_t rtFftsPlusTaskLaunch(void *tasks, void *stream);
rtError_t rtFftsPlusTaskLaunchWithFlag(void *tasks, void *stream, uint32_t flags);
rtError_t rtMultipleTaskInfoLaunch(const void *tasks, void *stream);
rtError_t rtMultipleTaskInfoLaunchWithFlag(const void *tasks, void *stream, uint32_t flags);
rtError_t rtFusionLaunch(void *tasks, void *stream, void *arguments);
rtError_t rtKernelLaunchEx(void *arguments, uint32_t bytes, uint32_t flags, void *stream);
rtError_t rtKernelLaunchFwk(const char *name, void *arguments, uint32_t bytes, uint32_t flags,
                            void *stream);
rtError_t rtCpuKernelLaunch(const void *library, const void *name, uint32_t blocks,
                            const void *arguments, uint32_t bytes, void *memory, void *stream);
rtError_t rtCpuKernelLaunchWithFlag(const void *library, const void *name, uint32_t blocks,
                                    const void *arguments, void *memory, void *stream,
                                    uint32_t flags);
rtError_t rtAicpuKernelLaunch(const void *names, uint32_t blocks, const void *arguments,
                              uint32_t bytes, void *memory, void *stream);
rtError_t rtAicpuKernelLaunchWithFlag(const void *names, uint32_t blocks, const void *arguments,
                                      void *memory, void *stream, uint32_t flags);
rtError_t rtAicpuKernelLaunchEx(uint32_t type, const void *names, uint32_t blocks,
                                const void *arguments, void *memory, void *stream,
                                uint32_t flags);
rtError_t rtAicpuKernelLaunchExWithArgs(uint32_t type, const char *name, uint32_t blocks,
                                        const void *arguments, void *memory, void *stream,
                                        uint32_t flags);
rtError_t rtsLaunchCpuKernel(void *function, uint32_t blocks, void *stream, const void *settings,
                             void *arguments);
rtError_t rtStreamBeginCapture(void *stream, int mode);
rtError_t rtStreamEndCapture(void *stream, void **model);
rtError_t rtStreamGetCaptureInfo(void *stream, int *status, void **model);
rtError_t rtThreadExchangeCaptureMode(int *mode);
rtError_t rtModelExecute(void *model, void *stream, uint32_t flags);
rtError_t rtModelExecuteSync(void *model, void *stream, uint32_t flags, int32_t timeout_ms);
rtError_t rtsModelExecute(void *model, int32_t timeout_ms);
rtError_t rtsModelExecuteAsync(void *model, void *stream);

#endif
