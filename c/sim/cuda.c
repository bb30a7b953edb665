/* The simulated libcuda.so.1: cards of the scenario, contexts, memory by size (cuda_memory.c) and
 * kernels by duration (cuda_work.c).
 *
 * Like the real driver it is dead in a child forked after cuInit (every call says NOT_INITIALIZED),
 * and a call without a current context says INVALID_CONTEXT.
 */
#include "cuda.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blocks.h"
#include "card_work.h"
#include "visible.h"

struct CUctx_st {
    CUdevice device;
    unsigned users; /* of a primary context, which ends with the last one */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pid_t owner;                    /* the process that initialised; 0: nobody */
static struct hcs_sim_visible visible; /* fixed at cuInit, as the real one's */
static struct CUctx_st primary[HCS_SIM_DEVICES_MAX];
static __thread CUcontext current;

static void load(void) {
    /* The snapshot is never released: `visible` points into it as long as the process lives. */
    const struct hcs_sim_scenario *scenario = hcs_sim_scenario_acquire();
    if (scenario != NULL) {
        hcs_sim_visible(scenario, HCS_SIM_NVIDIA, getenv("NVIDIA_VISIBLE_DEVICES"),
                        getenv("CUDA_VISIBLE_DEVICES"), &visible);
    }
    for (int device = 0; device < HCS_SIM_DEVICES_MAX; device++) {
        primary[device].device = device;
    }
}

HCS_EXPORT CUresult cuInit(unsigned flags) {
    if (flags != 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (owner != 0 && owner != getpid()) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    pthread_mutex_lock(&mutex);
    if (owner == 0) {
        load();
        owner = visible.count > 0 ? getpid() : 0;
    }
    pthread_mutex_unlock(&mutex);
    return owner != 0 ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}

static CUresult check_device(CUdevice device) {
    if (owner == 0 || owner != getpid()) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    bool known = device >= 0 && (unsigned)device < visible.count;
    return known ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

static CUresult check_current(void) {
    if (owner == 0 || owner != getpid()) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    return current != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

HCS_EXPORT CUresult cuDriverGetVersion(int *version) {
    if (version == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *version = CUDA_DRIVER_VERSION;
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuDeviceGetCount(int *count) {
    if (owner == 0 || owner != getpid()) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    if (count == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *count = (int)visible.count;
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    CUresult result = device == NULL ? CUDA_ERROR_INVALID_VALUE : check_device(ordinal);
    if (result == CUDA_SUCCESS) {
        *device = ordinal;
    }
    return result;
}

HCS_EXPORT CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
    CUresult result = check_device(device);
    if (result == CUDA_SUCCESS && (name == NULL || length <= 0)) {
        result = CUDA_ERROR_INVALID_VALUE;
    }
    if (result == CUDA_SUCCESS) {
        snprintf(name, (size_t)length, "%s", visible.devices[device]->model);
    }
    return result;
}

/* The sixteen bytes behind "GPU-5ec0ffee-…". */
static CUuuid parse_uuid(const char *id) {
    CUuuid uuid = {{0}};
    const char *hex = strchr(id, '-');
    for (unsigned digit = 0; hex != NULL && *hex != '\0' && digit < 32; hex++) {
        if (*hex != '-') {
            char text[2] = {*hex, '\0'};
            unsigned value = (unsigned)strtoul(text, NULL, 16);
            uuid.bytes[digit / 2] = (char)((unsigned char)uuid.bytes[digit / 2] << 4 | value);
            digit++;
        }
    }
    return uuid;
}

HCS_EXPORT CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
    CUresult result = uuid == NULL ? CUDA_ERROR_INVALID_VALUE : check_device(device);
    if (result == CUDA_SUCCESS) {
        *uuid = parse_uuid(visible.devices[device]->id);
    }
    return result;
}

HCS_EXPORT CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
    return cuDeviceGetUuid_v2(uuid, device);
}

HCS_EXPORT CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
    CUresult result = bytes == NULL ? CUDA_ERROR_INVALID_VALUE : check_device(device);
    if (result == CUDA_SUCCESS) {
        *bytes = visible.devices[device]->vram_bytes;
    }
    return result;
}

HCS_EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    CUresult result = context == NULL ? CUDA_ERROR_INVALID_VALUE : check_device(device);
    if (result == CUDA_SUCCESS) {
        __atomic_fetch_add(&primary[device].users, 1, __ATOMIC_RELAXED);
        *context = &primary[device];
    }
    return result;
}

HCS_EXPORT CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
    CUresult result = check_device(device);
    if (result == CUDA_SUCCESS) {
        hcs_sim_blocks_free_context(&primary[device]);
        hcs_sim_work_end(&primary[device]);
        current = current == &primary[device] ? NULL : current;
    }
    return result;
}

HCS_EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    CUresult result = check_device(device);
    if (result != CUDA_SUCCESS) {
        return result;
    }
    if (primary[device].users == 0) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    bool last = __atomic_sub_fetch(&primary[device].users, 1, __ATOMIC_RELAXED) == 0;
    return last ? cuDevicePrimaryCtxReset_v2(device) : CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
    CUresult result = check_device(device);
    if (result == CUDA_SUCCESS) {
        *flags = 0;
        *active = primary[device].users > 0;
    }
    return result;
}

HCS_EXPORT CUresult cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device) {
    (void)flags;
    CUresult result = context == NULL ? CUDA_ERROR_INVALID_VALUE : check_device(device);
    if (result != CUDA_SUCCESS) {
        return result;
    }
    CUcontext made = malloc(sizeof *made);
    if (made == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    made->device = device;
    *context = current = made;
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuCtxDestroy_v2(CUcontext context) {
    bool is_primary = context >= primary && context < primary + HCS_SIM_DEVICES_MAX;
    if (context == NULL || is_primary) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    hcs_sim_blocks_free_context(context);
    hcs_sim_work_end(context);
    current = current == context ? NULL : current;
    free(context);
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuCtxSetCurrent(CUcontext context) {
    if (owner == 0 || owner != getpid()) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    current = context;
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuCtxGetCurrent(CUcontext *context) {
    if (owner == 0 || owner != getpid()) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    if (context == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *context = current;
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuCtxGetDevice(CUdevice *device) {
    CUresult result = device == NULL ? CUDA_ERROR_INVALID_VALUE : check_current();
    if (result == CUDA_SUCCESS) {
        *device = current->device;
    }
    return result;
}

CUcontext hcs_cuda_current(void) { return current; }

CUresult hcs_cuda_check_current(void) { return check_current(); }

const struct hcs_sim_device *hcs_cuda_card(CUdevice device) {
    return check_device(device) == CUDA_SUCCESS ? visible.devices[device] : NULL;
}

const struct hcs_sim_device *hcs_cuda_current_card(void) {
    return current != NULL ? hcs_cuda_card(current->device) : NULL;
}

HCS_EXPORT CUresult cuGetErrorName(CUresult error, const char **name) {
    static const struct { CUresult error; const char *name; } names[] = {
        {CUDA_SUCCESS, "CUDA_SUCCESS"},
        {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
        {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
        {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED"},
        {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},
        {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
        {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
        {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},
        {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
        {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].error == error) {
            *name = names[i].name;
            return CUDA_SUCCESS;
        }
    }
    *name = NULL;
    return CUDA_ERROR_INVALID_VALUE;
}

enum { PER_THREAD_STREAM = 2 }; /* the flag that asks for the _ptsz form */

/* By name without suffix, the CUDA version from which that form of it exists, and the flag that it
 * needs: newest first. */
static const struct {
    const char *name;
    int since;
    uint64_t flags;
    void *function;
} entries[] = {
    {"cuInit", 2000, 0, cuInit},
    {"cuDriverGetVersion", 2020, 0, cuDriverGetVersion},
    {"cuDeviceGetCount", 2000, 0, cuDeviceGetCount},
    {"cuDeviceGet", 2000, 0, cuDeviceGet},
    {"cuDeviceGetName", 2000, 0, cuDeviceGetName},
    {"cuDeviceGetUuid", 11040, 0, cuDeviceGetUuid_v2},
    {"cuDeviceGetUuid", 9020, 0, cuDeviceGetUuid},
    {"cuDeviceTotalMem", 3020, 0, cuDeviceTotalMem_v2},
    {"cuDevicePrimaryCtxRetain", 7000, 0, cuDevicePrimaryCtxRetain},
    {"cuDevicePrimaryCtxRelease", 11000, 0, cuDevicePrimaryCtxRelease_v2},
    {"cuDevicePrimaryCtxReset", 11000, 0, cuDevicePrimaryCtxReset_v2},
    {"cuDevicePrimaryCtxGetState", 7000, 0, cuDevicePrimaryCtxGetState},
    {"cuCtxCreate", 3020, 0, cuCtxCreate_v2},
    {"cuCtxDestroy", 4000, 0, cuCtxDestroy_v2},
    {"cuCtxSetCurrent", 4000, 0, cuCtxSetCurrent},
    {"cuCtxGetCurrent", 4000, 0, cuCtxGetCurrent},
    {"cuCtxGetDevice", 2000, 0, cuCtxGetDevice},
    {"cuCtxSynchronize", 2000, 0, cuCtxSynchronize},
    {"cuMemAlloc", 3020, 0, cuMemAlloc_v2},
    {"cuMemAllocManaged", 6000, 0, cuMemAllocManaged},
    {"cuMemAllocPitch", 3020, 0, cuMemAllocPitch_v2},
    {"cuMemFree", 3020, 0, cuMemFree_v2},
    {"cuMemAllocAsync", 11020, PER_THREAD_STREAM, cuMemAllocAsync_ptsz},
    {"cuMemAllocAsync", 11020, 0, cuMemAllocAsync},
    {"cuMemFreeAsync", 11020, PER_THREAD_STREAM, cuMemFreeAsync_ptsz},
    {"cuMemFreeAsync", 11020, 0, cuMemFreeAsync},
    {"cuDeviceGetDefaultMemPool", 11020, 0, cuDeviceGetDefaultMemPool},
    {"cuDeviceGetMemPool", 11020, 0, cuDeviceGetMemPool},
    {"cuDeviceSetMemPool", 11020, 0, cuDeviceSetMemPool},
    {"cuMemPoolCreate", 11020, 0, cuMemPoolCreate},
    {"cuMemPoolDestroy", 11020, 0, cuMemPoolDestroy},
    {"cuMemPoolGetAttribute", 11020, 0, cuMemPoolGetAttribute},
    {"cuMemPoolSetAttribute", 11020, 0, cuMemPoolSetAttribute},
    {"cuMemPoolTrimTo", 11020, 0, cuMemPoolTrimTo},
    {"cuMemAllocFromPoolAsync", 11020, PER_THREAD_STREAM, cuMemAllocFromPoolAsync_ptsz},
    {"cuMemAllocFromPoolAsync", 11020, 0, cuMemAllocFromPoolAsync},
    {"cuArrayCreate", 3020, 0, cuArrayCreate_v2},
    {"cuArray3DCreate", 3020, 0, cuArray3DCreate_v2},
    {"cuArrayDestroy", 2000, 0, cuArrayDestroy},
    {"cuMipmappedArrayCreate", 5000, 0, cuMipmappedArrayCreate},
    {"cuMipmappedArrayDestroy", 5000, 0, cuMipmappedArrayDestroy},
    {"cuMemAddressReserve", 10020, 0, cuMemAddressReserve},
    {"cuMemCreate", 10020, 0, cuMemCreate},
    {"cuMemMap", 10020, 0, cuMemMap},
    {"cuMemUnmap", 10020, 0, cuMemUnmap},
    {"cuMemRetainAllocationHandle", 11000, 0, cuMemRetainAllocationHandle},
    {"cuMemRelease", 10020, 0, cuMemRelease},
    {"cuMemGetInfo", 3020, 0, cuMemGetInfo_v2},
    {"cuStreamCreate", 2000, 0, cuStreamCreate},
    {"cuStreamDestroy", 4000, 0, cuStreamDestroy_v2},
    {"cuStreamQuery", 2000, 0, cuStreamQuery},
    {"cuStreamSynchronize", 7000, PER_THREAD_STREAM, cuStreamSynchronize_ptsz},
    {"cuStreamSynchronize", 2000, 0, cuStreamSynchronize},
    {"cuEventCreate", 2000, 0, cuEventCreate},
    {"cuEventDestroy", 4000, 0, cuEventDestroy_v2},
    {"cuEventRecord", 2000, 0, cuEventRecord},
    {"cuEventQuery", 2000, 0, cuEventQuery},
    {"cuEventSynchronize", 2000, 0, cuEventSynchronize},
    {"cuEventElapsedTime", 2000, 0, cuEventElapsedTime},
    {"cuLaunchKernel", 7000, PER_THREAD_STREAM, cuLaunchKernel_ptsz},
    {"cuLaunchKernel", 4000, 0, cuLaunchKernel},
    {"cuLaunchKernelEx", 11060, PER_THREAD_STREAM, cuLaunchKernelEx_ptsz},
    {"cuLaunchKernelEx", 11060, 0, cuLaunchKernelEx},
    {"cuLaunchCooperativeKernel", 9000, PER_THREAD_STREAM, cuLaunchCooperativeKernel_ptsz},
    {"cuLaunchCooperativeKernel", 9000, 0, cuLaunchCooperativeKernel},
    {"cuStreamBeginCapture", 10010, 0, cuStreamBeginCapture_v2},
    {"cuStreamEndCapture", 10000, 0, cuStreamEndCapture},
    {"cuStreamIsCapturing", 10000, 0, cuStreamIsCapturing},
    {"cuThreadExchangeStreamCaptureMode", 10010, 0, cuThreadExchangeStreamCaptureMode},
    {"cuGraphCreate", 10000, 0, cuGraphCreate},
    {"cuGraphAddMemAllocNode", 11040, 0, cuGraphAddMemAllocNode},
    {"cuGraphAddMemFreeNode", 11040, 0, cuGraphAddMemFreeNode},
    {"cuGraphGetNodes", 10000, 0, cuGraphGetNodes},
    {"cuGraphNodeGetType", 10000, 0, cuGraphNodeGetType},
    {"cuGraphMemAllocNodeGetParams", 11040, 0, cuGraphMemAllocNodeGetParams},
    {"cuDeviceGetGraphMemAttribute", 11040, 0, cuDeviceGetGraphMemAttribute},
    {"cuDeviceGraphMemTrim", 11040, 0, cuDeviceGraphMemTrim},
    {"cuGraphExecDestroy", 10000, 0, cuGraphExecDestroy},
    {"cuGraphUpload", 11010, PER_THREAD_STREAM, cuGraphUpload_ptsz},
    {"cuGraphUpload", 11010, 0, cuGraphUpload},
    {"cuGraphInstantiate", 12000, 0, cuGraphInstantiateWithFlags},
    {"cuGraphInstantiate", 11000, 0, cuGraphInstantiate_v2},
    {"cuGraphInstantiate", 10000, 0, cuGraphInstantiate},
    {"cuGraphInstantiateWithParams", 12000, PER_THREAD_STREAM,
     cuGraphInstantiateWithParams_ptsz},
    {"cuGraphInstantiateWithParams", 12000, 0, cuGraphInstantiateWithParams},
    {"cuGraphInstantiateWithFlags", 11040, 0, cuGraphInstantiateWithFlags},
    {"cuGraphLaunch", 10000, PER_THREAD_STREAM, cuGraphLaunch_ptsz},
    {"cuGraphLaunch", 10000, 0, cuGraphLaunch},
    {"cuGetErrorName", 6000, 0, cuGetErrorName},
    {"cuGetProcAddress", 12000, 0, cuGetProcAddress_v2},
    {"cuGetProcAddress", 11030, 0, cuGetProcAddress},
};

HCS_EXPORT CUresult cuGetProcAddress_v2(const char *symbol, void **function, int version,
                                        uint64_t flags, int *status) {
    if (symbol == NULL || function == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *function = NULL;
    int found = PROC_ADDRESS_NOT_FOUND;
    for (size_t i = 0; i < sizeof entries / sizeof *entries && *function == NULL; i++) {
        if (strcmp(entries[i].name, symbol) == 0 &&
            (flags & entries[i].flags) == entries[i].flags) {
            bool enough = version >= entries[i].since;
            *function = enough ? entries[i].function : NULL;
            found = enough ? PROC_ADDRESS_SUCCESS : PROC_ADDRESS_OLD_VERSION;
        }
    }
    if (status != NULL) {
        *status = found;
        return CUDA_SUCCESS;
    }
    return *function != NULL ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

HCS_EXPORT CUresult cuGetProcAddress(const char *symbol, void **function, int version,
                                     uint64_t flags) {
    return cuGetProcAddress_v2(symbol, function, version, flags, NULL);
}
