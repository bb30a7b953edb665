/* What the files of the simulated libcudart.so.12 share. Own declarations: no vendor header is
 * needed to build. */
#ifndef HCS_SIM_CUDART_H
#define HCS_SIM_CUDART_H

#include "cuda.h"

typedef int cudaError_t;
enum {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorInitializationError = 3,
    cudaErrorInsufficientDriver = 35,
    cudaErrorInvalidDevice = 101,
};

struct dim3 {
    unsigned x, y, z;
};

/* The driver's functions, with the versions by which the real runtime asks for them, and those of
 * them that it has in the form for the calling thread's own stream, too. */
#define HCS_CUDART_DRIVER(X)                                                                       \
    X(cuInit, 2000, (unsigned))                                                                    \
    X(cuDriverGetVersion, 2020, (int *))                                                           \
    X(cuDeviceGetCount, 2000, (int *))                                                             \
    X(cuDevicePrimaryCtxReset, 7000, (CUdevice))                                                   \
    X(cuCtxSetCurrent, 4000, (CUcontext))                                                          \
    X(cuCtxSynchronize, 2000, (void))                                                              \
    X(cuGetProcAddress, 12000, (const char *, void **, int, uint64_t, int *))                      \
    X(cuGetExportTable, 3000, (const void **, const CUuuid *))                                     \
    X(cuMemAlloc, 3020, (CUdeviceptr *, size_t))                                                   \
    X(cuMemAllocManaged, 6000, (CUdeviceptr *, size_t, unsigned))                                  \
    X(cuMemAllocPitch, 3020, (CUdeviceptr *, size_t *, size_t, size_t, unsigned))                  \
    X(cuMemFree, 3020, (CUdeviceptr))                                                              \
    X(cuArray3DCreate, 3020, (void **, const CUDA_ARRAY3D_DESCRIPTOR *))                           \
    X(cuArrayDestroy, 2000, (void *))                                                              \
    X(cuMipmappedArrayCreate, 5000, (void **, const CUDA_ARRAY3D_DESCRIPTOR *, unsigned))          \
    X(cuMipmappedArrayDestroy, 5000, (void *))                                                     \
    X(cuMemHostAlloc, 2020, (void **, size_t, unsigned))                                           \
    X(cuMemFreeHost, 2000, (void *))                                                               \
    X(cuMemHostRegister, 6050, (void *, size_t, unsigned))                                         \
    X(cuMemHostUnregister, 4000, (void *))                                                         \
    X(cuIpcGetMemHandle, 4010, (CUipcMemHandle *, CUdeviceptr))                                    \
    X(cuIpcOpenMemHandle, 11000, (CUdeviceptr *, CUipcMemHandle, unsigned))                        \
    X(cuIpcCloseMemHandle, 4010, (CUdeviceptr))                                                    \
    X(cuMemGetInfo, 3020, (size_t *, size_t *))                                                    \
    X(cuDeviceGetDefaultMemPool, 11020, (void **, CUdevice))                                       \
    X(cuDeviceGetMemPool, 11020, (void **, CUdevice))                                              \
    X(cuDeviceSetMemPool, 11020, (CUdevice, void *))                                               \
    X(cuMemPoolCreate, 11020, (void **, const CUmemPoolProps *))                                   \
    X(cuMemPoolDestroy, 11020, (void *))                                                           \
    X(cuMemPoolGetAttribute, 11020, (void *, int, void *))                                         \
    X(cuMemPoolSetAttribute, 11020, (void *, int, void *))                                         \
    X(cuMemPoolTrimTo, 11020, (void *, size_t))                                                    \
    X(cuStreamCreate, 2000, (void **, unsigned))                                                   \
    X(cuStreamDestroy, 4000, (void *))                                                             \
    X(cuStreamQuery, 2000, (void *))                                                               \
    X(cuStreamBeginCapture, 10010, (void *, int))                                                  \
    X(cuStreamEndCapture, 10000, (void *, void **))                                                \
    X(cuStreamIsCapturing, 10000, (void *, int *))                                                 \
    X(cuThreadExchangeStreamCaptureMode, 10010, (int *))                                           \
    X(cuEventCreate, 2000, (void **, unsigned))                                                    \
    X(cuEventDestroy, 4000, (void *))                                                              \
    X(cuEventRecord, 2000, (void *, void *))                                                       \
    X(cuEventQuery, 2000, (void *))                                                                \
    X(cuEventSynchronize, 2000, (void *))                                                          \
    X(cuEventElapsedTime, 2000, (float *, void *, void *))                                         \
    X(cuGraphCreate, 10000, (void **, unsigned))                                                   \
    X(cuGraphAddMemAllocNode, 11040,                                                               \
      (void **, void *, const void *const *, size_t, struct hcs_sim_allocation_node *))            \
    X(cuGraphAddMemFreeNode, 11040,                                                                \
      (void **, void *, const void *const *, size_t, CUdeviceptr))                                 \
    X(cuGraphInstantiateWithFlags, 11040, (void **, void *, uint64_t))                             \
    X(cuGraphExecDestroy, 10000, (void *))                                                         \
    X(cuDeviceGetGraphMemAttribute, 11040, (CUdevice, int, void *))                                \
    X(cuDeviceGraphMemTrim, 11040, (CUdevice))

#define HCS_CUDART_DRIVER_IN_STREAM(X)                                                             \
    X(cuMemAllocAsync, 11020, 11020, (CUdeviceptr *, size_t, void *))                              \
    X(cuMemAllocFromPoolAsync, 11020, 11020, (CUdeviceptr *, size_t, void *, void *))              \
    X(cuMemFreeAsync, 11020, 11020, (CUdeviceptr, void *))                                         \
    X(cuStreamSynchronize, 2000, 7000, (void *))                                                   \
    X(cuLaunchKernel, 4000, 7000,                                                                  \
      (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,       \
       void **, void **))                                                                          \
    X(cuLaunchKernelEx, 11060, 11060, (const CUlaunchConfig *, void *, void **, void **))          \
    X(cuLaunchCooperativeKernel, 9000, 9000,                                                       \
      (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,       \
       void **))                                                                                   \
    X(cuGraphUpload, 11010, 11010, (void *, void *))                                               \
    X(cuGraphLaunch, 10000, 10000, (void *, void *))

struct hcs_cudart_driver {
#define HCS_CUDART_FIELD(NAME, VERSION, PARAMETERS) CUresult(*NAME) PARAMETERS;
#define HCS_CUDART_FIELDS(NAME, VERSION, OWN_VERSION, PARAMETERS)                                  \
    CUresult(*NAME) PARAMETERS;                                                                    \
    CUresult(*NAME##_ptsz) PARAMETERS;
    HCS_CUDART_DRIVER(HCS_CUDART_FIELD)
    HCS_CUDART_DRIVER_IN_STREAM(HCS_CUDART_FIELDS)
};
extern struct hcs_cudart_driver hcs_cudart_driver;

/* Load the driver, and make the thread's device current: what every call begins with. */
cudaError_t hcs_cudart_enter(void);

/* An error is also the thread's last one: what every call ends with. The driver's codes are the
 * runtime's, where both have them. */
cudaError_t hcs_cudart_remember(cudaError_t error);

/* A call of the driver's, from beginning to end. */
#define HCS_CUDART_CALL(CALL)                                                                      \
    cudaError_t entered = hcs_cudart_enter();                                                      \
    return hcs_cudart_remember(entered == cudaSuccess ? hcs_cudart_driver.CALL : entered)

/* The same for one that allocates. */
#define HCS_CUDART_ALLOCATE(POINTER, CALL)                                                         \
    CUdeviceptr address = 0;                                                                       \
    cudaError_t error = (POINTER) == NULL ? cudaErrorInvalidValue : hcs_cudart_enter();            \
    error = error == cudaSuccess ? hcs_cudart_driver.CALL : error;                                 \
    if (error == cudaSuccess) {                                                                    \
        *(POINTER) = (void *)(uintptr_t)address;                                                   \
    }                                                                                              \
    return hcs_cudart_remember(error)

#endif
