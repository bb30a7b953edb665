/* The lookup of the simulated libcuda.so.1, by which the runtime and most libraries get its
 * functions. */
#include <stdbool.h>
#include <string.h>

#include "cuda.h"

enum { PROC_ADDRESS_SUCCESS = 0, PROC_ADDRESS_NOT_FOUND = 1, PROC_ADDRESS_OLD_VERSION = 2 };

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
    {"cuDevicePrimaryCtxRelease", 7000, 0, cuDevicePrimaryCtxRelease},
    {"cuDevicePrimaryCtxReset", 11000, 0, cuDevicePrimaryCtxReset_v2},
    {"cuDevicePrimaryCtxReset", 7000, 0, cuDevicePrimaryCtxReset},
    {"cuDevicePrimaryCtxGetState", 7000, 0, cuDevicePrimaryCtxGetState},
    {"cuCtxCreate", 12050, 0, cuCtxCreate_v4},
    {"cuCtxCreate", 11040, 0, cuCtxCreate_v3},
    {"cuCtxCreate", 3020, 0, cuCtxCreate_v2},
    {"cuCtxCreate", 2000, 0, cuCtxCreate},
    {"cuCtxDestroy", 4000, 0, cuCtxDestroy_v2},
    {"cuCtxDestroy", 2000, 0, cuCtxDestroy},
    {"cuCtxSetCurrent", 4000, 0, cuCtxSetCurrent},
    {"cuCtxPushCurrent", 4000, 0, cuCtxPushCurrent_v2},
    {"cuCtxPopCurrent", 4000, 0, cuCtxPopCurrent_v2},
    {"cuCtxGetCurrent", 4000, 0, cuCtxGetCurrent},
    {"cuCtxGetDevice", 2000, 0, cuCtxGetDevice},
    {"cuCtxSynchronize", 13000, 0, cuCtxSynchronize_v2},
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
    {"cuMemHostAlloc", 2020, 0, cuMemHostAlloc},
    {"cuMemFreeHost", 2000, 0, cuMemFreeHost},
    {"cuMemHostRegister", 6050, 0, cuMemHostRegister_v2},
    {"cuMemHostUnregister", 4000, 0, cuMemHostUnregister},
    {"cuIpcGetMemHandle", 4010, 0, cuIpcGetMemHandle},
    {"cuIpcOpenMemHandle", 11000, 0, cuIpcOpenMemHandle_v2},
    {"cuIpcOpenMemHandle", 4010, 0, cuIpcOpenMemHandle},
    {"cuMemImportFromShareableHandle", 10020, 0, cuMemImportFromShareableHandle},
    {"cuMemPoolImportFromShareableHandle", 11020, 0, cuMemPoolImportFromShareableHandle},
    {"cuImportExternalMemory", 10000, 0, cuImportExternalMemory},
    {"cuIpcCloseMemHandle", 4010, 0, cuIpcCloseMemHandle},
    {"cuMemGetInfo", 3020, 0, cuMemGetInfo_v2},
    {"cuStreamCreate", 2000, 0, cuStreamCreate},
    {"cuStreamDestroy", 4000, 0, cuStreamDestroy_v2},
    {"cuStreamQuery", 2000, 0, cuStreamQuery},
    {"cuStreamGetCtx", 9020, 0, cuStreamGetCtx},
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
    {"cuLaunchCooperativeKernelMultiDevice", 9000, 0, cuLaunchCooperativeKernelMultiDevice},
    {"cuLaunch", 2000, 0, cuLaunch},
    {"cuLaunchGrid", 2000, 0, cuLaunchGrid},
    {"cuLaunchGridAsync", 2000, 0, cuLaunchGridAsync},
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
    {"cuGetExportTable", 3000, 0, cuGetExportTable},
    {"cuGetProcAddress", 12000, 0, cuGetProcAddress_v2},
    {"cuGetProcAddress", 11030, 0, cuGetProcAddress},
};

HCS_EXPORT CUresult cuGetExportTable(const void **table, const CUuuid *id) {
    static const struct hcs_cudart_table of_runtime = {sizeof of_runtime, NULL,
                                                       cuDevicePrimaryCtxRetain};
    if (table == NULL || id == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    bool known = memcmp(id, &HCS_CUDART_TABLE, sizeof *id) == 0;
    *table = known ? &of_runtime : NULL;
    return known ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

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
