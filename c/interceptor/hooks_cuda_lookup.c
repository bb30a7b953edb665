/* CUDA: the driver's own lookup, by which the runtime and most libraries get its functions. */
#include <string.h>

#include "hooks_cuda.h"

HCS_HOOK int cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags);
HCS_HOOK int cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags,
                                 int *status);
HCS_SYMBOL(cuGetProcAddress, LIBRARY, cuGetProcAddress);
HCS_SYMBOL(cuGetProcAddress_v2, LIBRARY, cuGetProcAddress_v2);

enum { PER_THREAD_STREAM = 2 }; /* the flag that asks for the _ptsz form */

/* By plain name, as cuGetProcAddress wants it, the version from which a form is meant, and what
 * that is exported as; newer forms and those for the other streams first. */
static const struct entry {
    const char *name;
    int since;
    uint64_t flags;
    const char *exported;
} entries[] = {
    {"cuMemAlloc", 3020, 0, "cuMemAlloc_v2"},
    {"cuMemFree", 3020, 0, "cuMemFree_v2"},
    {"cuMemGetInfo", 3020, 0, "cuMemGetInfo_v2"},
    {"cuDeviceTotalMem", 3020, 0, "cuDeviceTotalMem_v2"},
    {"cuMemAllocPitch", 3020, 0, "cuMemAllocPitch_v2"},
    {"cuMemAllocManaged", 6000, 0, "cuMemAllocManaged"},
    {"cuMemAllocAsync", 11020, PER_THREAD_STREAM, "cuMemAllocAsync_ptsz"},
    {"cuMemAllocAsync", 11020, 0, "cuMemAllocAsync"},
    {"cuMemAllocFromPoolAsync", 11020, PER_THREAD_STREAM, "cuMemAllocFromPoolAsync_ptsz"},
    {"cuMemAllocFromPoolAsync", 11020, 0, "cuMemAllocFromPoolAsync"},
    {"cuMemFreeAsync", 11020, PER_THREAD_STREAM, "cuMemFreeAsync_ptsz"},
    {"cuMemFreeAsync", 11020, 0, "cuMemFreeAsync"},
    {"cuMemPoolCreate", 11020, 0, "cuMemPoolCreate"},
    {"cuMemPoolDestroy", 11020, 0, "cuMemPoolDestroy"},
    {"cuMemPoolTrimTo", 11020, 0, "cuMemPoolTrimTo"},
    {"cuArrayCreate", 3020, 0, "cuArrayCreate_v2"},
    {"cuArray3DCreate", 3020, 0, "cuArray3DCreate_v2"},
    {"cuArrayDestroy", 2000, 0, "cuArrayDestroy"},
    {"cuMipmappedArrayCreate", 5000, 0, "cuMipmappedArrayCreate"},
    {"cuMipmappedArrayDestroy", 5000, 0, "cuMipmappedArrayDestroy"},
    {"cuMemCreate", 10020, 0, "cuMemCreate"},
    {"cuMemMap", 10020, 0, "cuMemMap"},
    {"cuMemUnmap", 10020, 0, "cuMemUnmap"},
    {"cuMemRetainAllocationHandle", 11000, 0, "cuMemRetainAllocationHandle"},
    {"cuMemRelease", 10020, 0, "cuMemRelease"},
    {"cuIpcOpenMemHandle", 11000, 0, "cuIpcOpenMemHandle_v2"},
    {"cuIpcOpenMemHandle", 4010, 0, "cuIpcOpenMemHandle"},
    {"cuMemImportFromShareableHandle", 10020, 0, "cuMemImportFromShareableHandle"},
    {"cuMemPoolImportFromShareableHandle", 11020, 0, "cuMemPoolImportFromShareableHandle"},
    {"cuImportExternalMemory", 10000, 0, "cuImportExternalMemory"},
    {"cuLaunchKernel", 7000, PER_THREAD_STREAM, "cuLaunchKernel_ptsz"},
    {"cuLaunchKernel", 4000, 0, "cuLaunchKernel"},
    {"cuLaunchKernelEx", 11060, PER_THREAD_STREAM, "cuLaunchKernelEx_ptsz"},
    {"cuLaunchKernelEx", 11060, 0, "cuLaunchKernelEx"},
    {"cuLaunchCooperativeKernel", 9000, PER_THREAD_STREAM, "cuLaunchCooperativeKernel_ptsz"},
    {"cuLaunchCooperativeKernel", 9000, 0, "cuLaunchCooperativeKernel"},
    {"cuLaunchCooperativeKernelMultiDevice", 9000, 0, "cuLaunchCooperativeKernelMultiDevice"},
    {"cuLaunch", 2000, 0, "cuLaunch"},
    {"cuLaunchGrid", 2000, 0, "cuLaunchGrid"},
    {"cuLaunchGridAsync", 2000, 0, "cuLaunchGridAsync"},
    {"cuGraphLaunch", 10000, PER_THREAD_STREAM, "cuGraphLaunch_ptsz"},
    {"cuGraphLaunch", 10000, 0, "cuGraphLaunch"},
    {"cuGraphUpload", 11010, PER_THREAD_STREAM, "cuGraphUpload_ptsz"},
    {"cuGraphUpload", 11010, 0, "cuGraphUpload"},
    {"cuGraphInstantiate", 12000, 0, "cuGraphInstantiateWithFlags"},
    {"cuGraphInstantiate", 11000, 0, "cuGraphInstantiate_v2"},
    {"cuGraphInstantiate", 10000, 0, "cuGraphInstantiate"},
    {"cuGraphInstantiateWithFlags", 11040, 0, "cuGraphInstantiateWithFlags"},
    {"cuGraphInstantiateWithParams", 12000, PER_THREAD_STREAM,
     "cuGraphInstantiateWithParams_ptsz"},
    {"cuGraphInstantiateWithParams", 12000, 0, "cuGraphInstantiateWithParams"},
    {"cuGraphExecDestroy", 10000, 0, "cuGraphExecDestroy"},
    {"cuDeviceGraphMemTrim", 11040, 0, "cuDeviceGraphMemTrim"},
    {"cuStreamSynchronize", 7000, PER_THREAD_STREAM, "cuStreamSynchronize_ptsz"},
    {"cuStreamSynchronize", 2000, 0, "cuStreamSynchronize"},
    {"cuEventSynchronize", 2000, 0, "cuEventSynchronize"},
    {"cuCtxSynchronize", 13000, 0, "cuCtxSynchronize_v2"},
    {"cuCtxSynchronize", 2000, 0, "cuCtxSynchronize"},
    {"cuCtxCreate", 12050, 0, "cuCtxCreate_v4"},
    {"cuCtxCreate", 11040, 0, "cuCtxCreate_v3"},
    {"cuCtxCreate", 3020, 0, "cuCtxCreate_v2"},
    {"cuCtxCreate", 2000, 0, "cuCtxCreate"},
    {"cuCtxDestroy", 4000, 0, "cuCtxDestroy_v2"},
    {"cuCtxDestroy", 2000, 0, "cuCtxDestroy"},
    {"cuDevicePrimaryCtxRetain", 7000, 0, "cuDevicePrimaryCtxRetain"},
    {"cuDevicePrimaryCtxRelease", 11000, 0, "cuDevicePrimaryCtxRelease_v2"},
    {"cuDevicePrimaryCtxRelease", 7000, 0, "cuDevicePrimaryCtxRelease"},
    {"cuDevicePrimaryCtxReset", 11000, 0, "cuDevicePrimaryCtxReset_v2"},
    {"cuDevicePrimaryCtxReset", 7000, 0, "cuDevicePrimaryCtxReset"},
    {"cuGetProcAddress", 12000, 0, "cuGetProcAddress_v2"},
    {"cuGetProcAddress", 11030, 0, "cuGetProcAddress"},
};

/* Exchange what the driver found; what it did not find stays unfound. */
static void exchange(int result, const char *symbol, void **function, int version,
                     uint64_t flags) {
    if (result != CUDA_SUCCESS || symbol == NULL || function == NULL || *function == NULL) {
        return;
    }
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        const struct entry *entry = &entries[i];
        if (strcmp(entry->name, symbol) == 0 && version >= entry->since &&
            (flags & entry->flags) == entry->flags) {
            *function = hcs_hook_instead(&LIBRARY, entry->exported, *function);
            return;
        }
    }
}

int cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags) {
    int (*real)(const char *, void **, int, uint64_t) = hcs_real(&find_cuGetProcAddress);
    int result = real != NULL ? real(symbol, function, version, flags) : NOT_THERE;
    exchange(result, symbol, function, version, flags);
    return result;
}

int cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags,
                        int *status) {
    int (*real)(const char *, void **, int, uint64_t, int *) =
        hcs_real(&find_cuGetProcAddress_v2);
    int result = real != NULL ? real(symbol, function, version, flags, status) : NOT_THERE;
    exchange(result, symbol, function, version, flags);
    return result;
}
