/* The simulated libascendcl.so; names and numbers from CANN's acl_rt.h and rt_error_codes.h. As the
 * real one it does nothing by itself: everything goes to libruntime.so. */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime_ascend.h"

#define HCS_EXPORT __attribute__((visibility("default")))
#define ALIGNMENT_BYTES 32 /* aclrtMalloc adds this much and rounds up to a multiple of it */
#define MODULE 33          /* what libascendcl.so calls itself */

enum { NORMAL_PAGES = 0, HUGE_PAGES = 1, GIANT_PAGES = 2 }; /* to the driver */

typedef int aclError;
typedef int aclrtMemMallocPolicy;
typedef int aclrtMemAttr;

aclError aclInit(const char *config_path);
aclError aclFinalize(void);
aclError aclrtGetDeviceCount(uint32_t *count);
aclError aclrtSetDevice(int32_t device);
aclError aclrtGetDevice(int32_t *device);
aclError aclrtResetDevice(int32_t device);
aclError aclrtResetDeviceForce(int32_t device);
aclError aclrtSynchronizeDevice(void);
aclError aclrtMalloc(void **pointer, size_t bytes, aclrtMemMallocPolicy policy);
aclError aclrtMallocAlign32(void **pointer, size_t bytes, aclrtMemMallocPolicy policy);
aclError aclrtMallocCached(void **pointer, size_t bytes, aclrtMemMallocPolicy policy);
aclError aclrtFree(void *pointer);
aclError aclrtFreeWithDevSync(void *pointer);
aclError aclrtMallocPhysical(void **handle, size_t bytes,
                             const struct physical_properties *properties, uint64_t flags);
aclError aclrtFreePhysical(void *handle);
aclError aclrtReserveMemAddress(void **address, size_t bytes, size_t alignment, void *wanted,
                                uint64_t flags);
aclError aclrtMapMem(void *address, size_t bytes, size_t offset, void *handle, uint64_t flags);
aclError aclrtMemMapNoAccess(void *address, size_t bytes, size_t offset, void *handle,
                             uint64_t flags);
aclError aclrtUnmapMem(void *address);
aclError aclrtGetMemInfo(aclrtMemAttr attribute, size_t *free_bytes, size_t *total_bytes);
aclError aclrtCreateStream(void **stream);
aclError aclrtDestroyStream(void *stream);
aclError aclrtSynchronizeStream(void *stream);
aclError aclrtCreateEvent(void **event);
aclError aclrtCreateEventWithFlag(void **event, uint32_t flags);
aclError aclrtDestroyEvent(void *event);
aclError aclrtRecordEvent(void *event, void *stream);
aclError aclrtQueryEventStatus(void *event, int *status);
aclError aclrtSynchronizeEvent(void *event);
aclError aclrtEventElapsedTime(float *milliseconds, void *start, void *end);
aclError aclrtLaunchKernel(void *function, uint32_t blocks, const void *arguments, size_t bytes,
                           void *stream);
aclError aclrtLaunchKernelV2(void *function, uint32_t blocks, const void *arguments, size_t bytes,
                             void *settings, void *stream);
aclError aclrtLaunchKernelWithConfig(void *function, uint32_t blocks, void *stream, void *settings,
                                     void *arguments, void *reserved);
aclError aclrtLaunchKernelWithHostArgs(void *function, uint32_t blocks, void *stream,
                                       void *settings, void *arguments, size_t bytes, void *places,
                                       size_t place_count);
aclError aclrtLaunchKernelWithArgsArray(void *function, uint32_t blocks, void *stream,
                                        void *settings, void **arguments);
struct threads { /* dim3 */
    uint32_t x, y, z;
};
aclError aclrtLaunchSIMTKernelWithArgsArray(void *function, struct threads grid,
                                            struct threads block, size_t shared_bytes,
                                            void *stream, void *settings, void **arguments);
aclError aclrtLaunchSIMTKernelWithHostArgs(void *function, struct threads grid,
                                           struct threads block, size_t shared_bytes,
                                           void *stream, void *settings, void *arguments,
                                           size_t bytes, void *places, size_t place_count);
aclError aclmdlRICaptureBegin(void *stream, int mode);
aclError aclmdlRICaptureEnd(void *stream, void **model);
aclError aclmdlRIExecuteAsync(void *model, void *stream);
aclError aclmdlRIExecute(void *model, int32_t timeout_ms);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool initialised;

static aclError set_initialised(bool value, aclError repeated) {
    pthread_mutex_lock(&mutex);
    aclError result = initialised == value ? repeated : ACL_SUCCESS;
    initialised = value;
    pthread_mutex_unlock(&mutex);
    return result;
}

HCS_EXPORT aclError aclInit(const char *config_path) {
    (void)config_path; /* only dumps and profiling are configured there */
    return set_initialised(true, ACL_ERROR_REPEAT_INITIALIZE);
}

HCS_EXPORT aclError aclFinalize(void) {
    return set_initialised(false, ACL_ERROR_REPEAT_FINALIZE);
}

HCS_EXPORT aclError aclrtGetDeviceCount(uint32_t *count) {
    return count != NULL ? rtGetDeviceCount((int32_t *)count) : ACL_ERROR_RT_PARAM_INVALID;
}

HCS_EXPORT aclError aclrtSetDevice(int32_t device) { return rtSetDevice(device); }

HCS_EXPORT aclError aclrtGetDevice(int32_t *device) { return rtGetDevice(device); }

HCS_EXPORT aclError aclrtResetDevice(int32_t device) { return rtDeviceReset(device); }

HCS_EXPORT aclError aclrtResetDeviceForce(int32_t device) { return rtDeviceResetForce(device); }

HCS_EXPORT aclError aclrtSynchronizeDevice(void) { return rtDeviceSynchronize(); }

static uint64_t aligned(uint64_t bytes) {
    return (bytes + ALIGNMENT_BYTES - 1) / ALIGNMENT_BYTES * ALIGNMENT_BYTES;
}

static aclError allocate(void **pointer, size_t bytes, size_t more, int policy) {
    if (bytes == 0) {
        return ACL_ERROR_RT_PARAM_INVALID;
    }
    uint32_t type = hcs_sim_ascend_type(policy);
    bool giant = type >= RT_MEMORY_POLICY_HUGE1G_PAGE_ONLY; /* too dear to be padded */
    bool beyond = bytes > SIZE_MAX - 2 * ALIGNMENT_BYTES;
    return beyond ? ACL_ERROR_RT_MEMORY_ALLOCATION
                  : rtMalloc(pointer, aligned(giant ? bytes : bytes + more), type, MODULE);
}

HCS_EXPORT aclError aclrtMalloc(void **pointer, size_t bytes, aclrtMemMallocPolicy policy) {
    return allocate(pointer, bytes, ALIGNMENT_BYTES, policy);
}

HCS_EXPORT aclError aclrtMallocAlign32(void **pointer, size_t bytes,
                                       aclrtMemMallocPolicy policy) {
    return allocate(pointer, bytes, 0, policy);
}

HCS_EXPORT aclError aclrtMallocCached(void **pointer, size_t bytes, aclrtMemMallocPolicy policy) {
    return allocate(pointer, bytes, ALIGNMENT_BYTES, policy);
}

HCS_EXPORT aclError aclrtFree(void *pointer) { return rtFree(pointer); }

HCS_EXPORT aclError aclrtFreeWithDevSync(void *pointer) { return rtFree(pointer); }

/* By aclrtMemAttr. */
static uint32_t page_type_of(int attribute) {
    switch (attribute) {
    case ACL_HBM_MEM_NORMAL:
    case ACL_HBM_MEM_P2P_NORMAL:
    case ACL_MEM_NORMAL:
    case ACL_MEM_P2P_NORMAL:
        return NORMAL_PAGES;
    case ACL_HBM_MEM_HUGE1G:
    case ACL_HBM_MEM_P2P_HUGE1G:
    case ACL_MEM_HUGE1G:
    case ACL_MEM_P2P_HUGE1G:
        return GIANT_PAGES;
    default:
        return HUGE_PAGES;
    }
}

HCS_EXPORT aclError aclrtMallocPhysical(void **handle, size_t bytes,
                                        const struct physical_properties *properties,
                                        uint64_t flags) {
    if (properties == NULL) {
        return ACL_ERROR_RT_PARAM_INVALID;
    }
    struct driver_properties below = {.side = (uint32_t)properties->location_type,
                                      .device = properties->location_id,
                                      .module = MODULE,
                                      .page_type = page_type_of(properties->attribute),
                                      .reserve = properties->reserve};
    return rtMallocPhysical(handle, bytes, &below, flags);
}

HCS_EXPORT aclError aclrtFreePhysical(void *handle) { return rtFreePhysical(handle); }

HCS_EXPORT aclError aclrtReserveMemAddress(void **address, size_t bytes, size_t alignment,
                                           void *wanted, uint64_t flags) {
    return rtReserveMemAddress(address, bytes, alignment, wanted, flags);
}

HCS_EXPORT aclError aclrtMapMem(void *address, size_t bytes, size_t offset, void *handle,
                                uint64_t flags) {
    return rtMapMem(address, bytes, offset, handle, flags);
}

HCS_EXPORT aclError aclrtMemMapNoAccess(void *address, size_t bytes, size_t offset, void *handle,
                                        uint64_t flags) {
    return rtMemMapNoAccess(address, bytes, offset, handle, flags);
}

HCS_EXPORT aclError aclrtUnmapMem(void *address) { return rtUnmapMem(address); }

HCS_EXPORT aclError aclrtGetMemInfo(aclrtMemAttr attribute, size_t *free_bytes,
                                    size_t *total_bytes) {
    return rtMemGetInfoEx(attribute, free_bytes, total_bytes);
}

HCS_EXPORT aclError aclrtCreateStream(void **stream) {
    return rtStreamCreate(stream, RT_STREAM_PRIORITY_DEFAULT);
}
HCS_EXPORT aclError aclrtDestroyStream(void *stream) { return rtStreamDestroy(stream); }
HCS_EXPORT aclError aclrtSynchronizeStream(void *stream) { return rtStreamSynchronize(stream); }

HCS_EXPORT aclError aclrtCreateEvent(void **event) { return rtEventCreate(event); }
HCS_EXPORT aclError aclrtCreateEventWithFlag(void **event, uint32_t flags) {
    return rtEventCreateWithFlag(event, flags);
}
HCS_EXPORT aclError aclrtDestroyEvent(void *event) { return rtEventDestroy(event); }
HCS_EXPORT aclError aclrtRecordEvent(void *event, void *stream) {
    return rtEventRecord(event, stream);
}
HCS_EXPORT aclError aclrtQueryEventStatus(void *event, int *status) {
    return rtEventQueryStatus(event, status);
}
HCS_EXPORT aclError aclrtSynchronizeEvent(void *event) { return rtEventSynchronize(event); }
HCS_EXPORT aclError aclrtEventElapsedTime(float *milliseconds, void *start, void *end) {
    return rtEventElapsedTime(milliseconds, start, end);
}

HCS_EXPORT aclError aclrtLaunchKernel(void *function, uint32_t blocks, const void *arguments,
                                      size_t bytes, void *stream) {
    (void)bytes;
    return rtLaunchKernelByFuncHandleV3(function, blocks, arguments, stream, NULL);
}
HCS_EXPORT aclError aclrtLaunchKernelV2(void *function, uint32_t blocks, const void *arguments,
                                        size_t bytes, void *settings, void *stream) {
    return rtsLaunchKernelWithDevArgs(function, blocks, stream, settings, arguments,
                                      (uint32_t)bytes, NULL);
}
HCS_EXPORT aclError aclrtLaunchKernelWithConfig(void *function, uint32_t blocks, void *stream,
                                                void *settings, void *arguments, void *reserved) {
    return rtsLaunchKernelWithConfig(function, blocks, stream, settings, arguments, reserved);
}
HCS_EXPORT aclError aclrtLaunchKernelWithHostArgs(void *function, uint32_t blocks, void *stream,
                                                  void *settings, void *arguments, size_t bytes,
                                                  void *places, size_t place_count) {
    return rtsLaunchKernelWithHostArgs(function, blocks, stream, settings, arguments,
                                       (uint32_t)bytes, places, (uint32_t)place_count);
}
HCS_EXPORT aclError aclrtLaunchKernelWithArgsArray(void *function, uint32_t blocks, void *stream,
                                                   void *settings, void **arguments) {
    return rtLaunchKernelWithArgsArray(function, blocks, stream, settings, arguments);
}

/* (What a block has of threads and memory changes nothing here.) */
HCS_EXPORT aclError aclrtLaunchSIMTKernelWithArgsArray(void *function, struct threads grid,
                                                       struct threads block, size_t shared_bytes,
                                                       void *stream, void *settings,
                                                       void **arguments) {
    (void)block, (void)shared_bytes;
    return rtLaunchKernelWithArgsArray(function, grid.x * grid.y * grid.z, stream, settings,
                                       arguments);
}
HCS_EXPORT aclError aclrtLaunchSIMTKernelWithHostArgs(void *function, struct threads grid,
                                                      struct threads block, size_t shared_bytes,
                                                      void *stream, void *settings,
                                                      void *arguments, size_t bytes, void *places,
                                                      size_t place_count) {
    (void)block, (void)shared_bytes;
    return rtsLaunchKernelWithHostArgs(function, grid.x * grid.y * grid.z, stream, settings,
                                       arguments, (uint32_t)bytes, places, (uint32_t)place_count);
}

HCS_EXPORT aclError aclmdlRICaptureBegin(void *stream, int mode) {
    return rtStreamBeginCapture(stream, mode);
}
HCS_EXPORT aclError aclmdlRICaptureEnd(void *stream, void **model) {
    return rtStreamEndCapture(stream, model);
}
HCS_EXPORT aclError aclmdlRIExecuteAsync(void *model, void *stream) {
    return rtModelExecute(model, stream, 0);
}
HCS_EXPORT aclError aclmdlRIExecute(void *model, int32_t timeout_ms) {
    return rtsModelExecute(model, timeout_ms);
}
