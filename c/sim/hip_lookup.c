/* The simulated libamdhip64.so: the runtime's own lookup. It finds what is exported under a name;
 * one has a newer form for newer programs, and some have one for the thread's own stream. */
#include <stdio.h>
#include <string.h>

#include "hip.h"

enum { PER_THREAD_STREAM = 2 };
#define NAME_BYTES_MAX 96

static const struct {
    const char *name;
    void *function;
} entries[] = {
#define ENTRY(NAME) {#NAME, NAME}
    ENTRY(hipInit),
    ENTRY(hipGetDeviceCount),
    ENTRY(hipGetDevice),
    ENTRY(hipSetDevice),
    ENTRY(hipDeviceReset),
    ENTRY(hipDeviceTotalMem),
    ENTRY(hipGetDevicePropertiesR0000),
    ENTRY(hipGetDevicePropertiesR0600),
    ENTRY(hipGetDeviceProperties),
    ENTRY(hipMemGetInfo),
    ENTRY(hipMalloc),
    ENTRY(hipExtMallocWithFlags),
    ENTRY(hipMallocManaged),
    ENTRY(hipMallocPitch),
    ENTRY(hipMemAllocPitch),
    ENTRY(hipMalloc3D),
    ENTRY(hipMallocArray),
    ENTRY(hipMalloc3DArray),
    ENTRY(hipFreeArray),
    ENTRY(hipMallocMipmappedArray),
    ENTRY(hipFreeMipmappedArray),
    ENTRY(hipArrayCreate),
    ENTRY(hipArray3DCreate),
    ENTRY(hipArrayDestroy),
    ENTRY(hipMipmappedArrayCreate),
    ENTRY(hipMipmappedArrayDestroy),
    ENTRY(hipMemAddressReserve),
    ENTRY(hipMemCreate),
    ENTRY(hipMemMap),
    ENTRY(hipMemUnmap),
    ENTRY(hipMemRetainAllocationHandle),
    ENTRY(hipMemRelease),
    ENTRY(hipIpcOpenMemHandle),
    ENTRY(hipMemImportFromShareableHandle),
    ENTRY(hipMemPoolImportFromShareableHandle),
    ENTRY(hipImportExternalMemory),
    ENTRY(hipGetProcAddress),
    ENTRY(hipGetProcAddress_spt),
    ENTRY(hipGetDriverEntryPoint),
    ENTRY(hipGetDriverEntryPoint_spt),
    ENTRY(hipGetStreamDeviceId),
    ENTRY(hipDeviceGetDefaultMemPool),
    ENTRY(hipDeviceGetMemPool),
    ENTRY(hipMemPoolCreate),
    ENTRY(hipMemPoolDestroy),
    ENTRY(hipMemPoolGetAttribute),
    ENTRY(hipMemPoolSetAttribute),
    ENTRY(hipMemPoolTrimTo),
    ENTRY(hipMallocAsync),
    ENTRY(hipMallocFromPoolAsync),
    ENTRY(hipFree),
    ENTRY(hipFreeAsync),
    ENTRY(hipGraphCreate),
    ENTRY(hipGraphAddMemAllocNode),
    ENTRY(hipGraphGetNodes),
    ENTRY(hipGraphNodeGetType),
    ENTRY(hipGraphMemAllocNodeGetParams),
    ENTRY(hipDeviceGetGraphMemAttribute),
    ENTRY(hipDeviceGraphMemTrim),
    ENTRY(hipGraphExecDestroy),
    ENTRY(hipStreamCreate),
    ENTRY(hipStreamDestroy),
    ENTRY(hipStreamSynchronize),
    ENTRY(hipStreamSynchronize_spt),
    ENTRY(hipDeviceSynchronize),
    ENTRY(hipEventCreateWithFlags),
    ENTRY(hipEventDestroy),
    ENTRY(hipEventRecord),
    ENTRY(hipEventQuery),
    ENTRY(hipEventSynchronize),
    ENTRY(hipEventElapsedTime),
    ENTRY(hipGetLastError),
    ENTRY(hipPeekAtLastError),
    ENTRY(hipLaunchKernel),
    ENTRY(hipModuleLaunchKernel),
    ENTRY(hipLaunchKernel_spt),
    ENTRY(hipLaunchCooperativeKernel),
    ENTRY(hipLaunchCooperativeKernel_spt),
    ENTRY(hipModuleLaunchCooperativeKernel),
    ENTRY(hipLaunchKernelExC),
    ENTRY(hipDrvLaunchKernelEx),
    ENTRY(hipExtLaunchKernel),
    ENTRY(hipExtModuleLaunchKernel),
    ENTRY(hipHccModuleLaunchKernel),
    ENTRY(hipLaunchCooperativeKernelMultiDevice),
    ENTRY(hipExtLaunchMultiKernelMultiDevice),
    ENTRY(hipModuleLaunchCooperativeKernelMultiDevice),
    ENTRY(hipStreamBeginCapture),
    ENTRY(hipStreamEndCapture),
    ENTRY(hipStreamIsCapturing),
    ENTRY(hipThreadExchangeStreamCaptureMode),
    ENTRY(hipGraphInstantiateWithFlags),
    ENTRY(hipGraphInstantiate),
    ENTRY(hipGraphInstantiateWithParams),
    ENTRY(hipGraphUpload),
    ENTRY(hipGraphLaunch),
    ENTRY(hipGraphLaunch_spt),
};

static void *find(const char *name, const char *suffix) {
    char text[NAME_BYTES_MAX];
    snprintf(text, sizeof text, "%s%s", name, suffix);
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        if (strcmp(entries[i].name, text) == 0) {
            return entries[i].function;
        }
    }
    return NULL;
}

HCS_EXPORT hipError_t hipGetProcAddress(const char *symbol, void **function, int version,
                                        uint64_t flags, int *status) {
    if (symbol == NULL || *symbol == '\0' || function == NULL || flags > PER_THREAD_STREAM) {
        return hipErrorInvalidValue;
    }
    if (strcmp(symbol, "hipGetDeviceProperties") == 0) {
        *function = find(symbol, version >= 600 ? "R0600" : "");
    } else {
        *function = flags == PER_THREAD_STREAM ? find(symbol, "_spt") : NULL;
        *function = *function != NULL ? *function : find(symbol, "");
    }
    if (status != NULL) {
        *status = *function == NULL;
    }
    return *function != NULL ? hipSuccess : hipErrorInvalidValue;
}

/* What programs that are compiled for the thread's own stream call instead. */
HCS_EXPORT hipError_t hipGetProcAddress_spt(const char *symbol, void **function, int version,
                                            uint64_t flags, int *status) {
    return hipGetProcAddress(symbol, function, version, flags == 0 ? PER_THREAD_STREAM : flags,
                             status);
}

/* The runtime's form of it, which takes no version: it finds the plain names. */
HCS_EXPORT hipError_t hipGetDriverEntryPoint(const char *symbol, void **function, uint64_t flags,
                                             int *status) {
    return hipGetProcAddress(symbol, function, 0, flags, status);
}

HCS_EXPORT hipError_t hipGetDriverEntryPoint_spt(const char *symbol, void **function,
                                                 uint64_t flags, int *status) {
    return hipGetProcAddress_spt(symbol, function, 0, flags, status);
}
