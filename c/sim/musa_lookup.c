/* The simulated libmusa.so: the driver's lookup by plain names, as CUDA 11's. */
#include <string.h>

#include "musa.h"
#include "runtime_cards.h"

enum { PER_THREAD_STREAM = 2, MUSA_ERROR_NOT_FOUND = 500 };

MUresult muGetProcAddress(const char *symbol, void **function, int version, uint64_t flags);

/* By name without suffix, and the flag that a form needs. */
static const struct {
    const char *name;
    uint64_t flags;
    void *function;
} entries[] = {
    {"muInit", 0, muInit},
    {"muDeviceGetCount", 0, muDeviceGetCount},
    {"muDeviceTotalMem", 0, muDeviceTotalMem_v2},
    {"muDevicePrimaryCtxRetain", 0, muDevicePrimaryCtxRetain},
    {"muDevicePrimaryCtxRelease", 0, muDevicePrimaryCtxRelease_v2},
    {"muDevicePrimaryCtxReset", 0, muDevicePrimaryCtxReset_v2},
    {"muCtxSetCurrent", 0, muCtxSetCurrent},
    {"muCtxSynchronize", 0, muCtxSynchronize},
    {"muMemAlloc", 0, muMemAlloc_v2},
    {"muMemAllocManaged", 0, muMemAllocManaged},
    {"muMemAllocPitch", 0, muMemAllocPitch_v2},
    {"muMemFree", 0, muMemFree_v2},
    {"muMemAllocAsync", PER_THREAD_STREAM, muMemAllocAsync_ptsz},
    {"muMemAllocAsync", 0, muMemAllocAsync},
    {"muMemAllocFromPoolAsync", PER_THREAD_STREAM, muMemAllocFromPoolAsync_ptsz},
    {"muMemAllocFromPoolAsync", 0, muMemAllocFromPoolAsync},
    {"muMemFreeAsync", PER_THREAD_STREAM, muMemFreeAsync_ptsz},
    {"muMemFreeAsync", 0, muMemFreeAsync},
    {"muMemPoolCreate", 0, muMemPoolCreate},
    {"muMemPoolDestroy", 0, muMemPoolDestroy},
    {"muMemPoolTrimTo", 0, muMemPoolTrimTo},
    {"muMemGetInfo", 0, muMemGetInfo_v2},
    {"muMemAddressReserve", 0, muMemAddressReserve},
    {"muMemCreate", 0, muMemCreate},
    {"muMemMap", 0, muMemMap},
    {"muMemUnmap", 0, muMemUnmap},
    {"muMemRetainAllocationHandle", 0, muMemRetainAllocationHandle},
    {"muMemRelease", 0, muMemRelease},
    {"muCtxPushCurrent", 0, muCtxPushCurrent_v2},
    {"muCtxPopCurrent", 0, muCtxPopCurrent_v2},
    {"muStreamGetCtx", 0, muStreamGetCtx},
    {"muStreamCreate", 0, muStreamCreate},
    {"muStreamDestroy", 0, muStreamDestroy_v2},
    {"muStreamSynchronize", PER_THREAD_STREAM, muStreamSynchronize_ptsz},
    {"muStreamSynchronize", 0, muStreamSynchronize},
    {"muEventCreate", 0, muEventCreate},
    {"muEventRecord", 0, muEventRecord},
    {"muEventSynchronize", 0, muEventSynchronize},
    {"muEventDestroy", 0, muEventDestroy_v2},
    {"muStreamBeginCapture", 0, muStreamBeginCapture},
    {"muStreamEndCapture", 0, muStreamEndCapture},
    {"muGraphInstantiateWithFlags", 0, muGraphInstantiateWithFlags},
    {"muLaunchKernel", PER_THREAD_STREAM, muLaunchKernel_ptsz},
    {"muLaunchKernel", 0, muLaunchKernel},
    {"muLaunchKernelEx", PER_THREAD_STREAM, muLaunchKernelEx_ptsz},
    {"muLaunchKernelEx", 0, muLaunchKernelEx},
    {"muLaunchCooperativeKernel", PER_THREAD_STREAM, muLaunchCooperativeKernel_ptsz},
    {"muLaunchCooperativeKernel", 0, muLaunchCooperativeKernel},
    {"muGraphLaunch", PER_THREAD_STREAM, muGraphLaunch_ptsz},
    {"muGraphLaunch", 0, muGraphLaunch},
    {"muGetProcAddress", 0, muGetProcAddress},
};

HCS_EXPORT MUresult muGetProcAddress(const char *symbol, void **function, int version,
                                     uint64_t flags) {
    (void)version; /* no form here is older than another */
    if (symbol == NULL || function == NULL) {
        return MUSA_ERROR_INVALID_VALUE;
    }
    *function = NULL;
    for (size_t i = 0; i < sizeof entries / sizeof *entries && *function == NULL; i++) {
        if (strcmp(entries[i].name, symbol) == 0 &&
            (flags & entries[i].flags) == entries[i].flags) {
            *function = entries[i].function;
        }
    }
    return *function != NULL ? MUSA_SUCCESS : MUSA_ERROR_NOT_FOUND;
}
