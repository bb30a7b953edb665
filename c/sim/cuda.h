/* The part of the CUDA driver API that the simulation has; numbers from NVIDIA's cuda.h 12.9, and
 * 13.5 where they are newer.
 * Own declarations: no vendor header is needed to build. */
#ifndef HCS_SIM_CUDA_H
#define HCS_SIM_CUDA_H

#include <stddef.h>
#include <stdint.h>

#define HCS_EXPORT __attribute__((visibility("default")))

#define CUDA_DRIVER_VERSION 12090

typedef int CUresult;
typedef int CUdevice;
typedef uint64_t CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct { char bytes[16]; } CUuuid;
typedef uint64_t CUmemGenericAllocationHandle;
typedef struct { char reserved[64]; } CUipcMemHandle;
typedef struct {
    size_t Width, Height;
    unsigned Format, NumChannels;
} CUDA_ARRAY_DESCRIPTOR;
typedef struct {
    size_t Width, Height, Depth;
    unsigned Format, NumChannels, Flags;
} CUDA_ARRAY3D_DESCRIPTOR;
typedef struct {
    int type, requestedHandleTypes;
    struct { int type, id; } location;
    void *win32HandleMetaData;
    unsigned char allocFlags[8];
} CUmemAllocationProp;
typedef struct {
    int allocType, handleTypes;
    struct { int type, id; } location;
    void *win32SecurityAttributes;
    size_t maxSize;
    unsigned short usage;
    unsigned char reserved[54];
} CUmemPoolProps;
typedef struct {
    unsigned gridDimX, gridDimY, gridDimZ;
    unsigned blockDimX, blockDimY, blockDimZ;
    unsigned sharedMemBytes;
    void *hStream;
    void *attrs;
    unsigned numAttrs;
} CUlaunchConfig;
typedef struct {
    void *function;
    unsigned gridDimX, gridDimY, gridDimZ;
    unsigned blockDimX, blockDimY, blockDimZ;
    unsigned sharedMemBytes;
    void *hStream;
    void **kernelParams;
} CUDA_LAUNCH_PARAMS;
typedef struct {
    uint64_t flags;
    void *hUploadStream, *hErrNode_out;
    int result_out;
} CUDA_GRAPH_INSTANTIATE_PARAMS;
_Static_assert(sizeof(CUDA_GRAPH_INSTANTIATE_PARAMS) == 32, "CUDA_GRAPH_INSTANTIATE_PARAMS");
_Static_assert(sizeof(CUlaunchConfig) == 56, "CUlaunchConfig");
_Static_assert(sizeof(CUDA_LAUNCH_PARAMS) == 56, "CUDA_LAUNCH_PARAMS");
_Static_assert(sizeof(CUmemPoolProps) == 88, "CUmemPoolProps");
_Static_assert(sizeof(CUDA_ARRAY_DESCRIPTOR) == 24, "CUDA_ARRAY_DESCRIPTOR");
_Static_assert(sizeof(CUDA_ARRAY3D_DESCRIPTOR) == 40, "CUDA_ARRAY3D_DESCRIPTOR");
_Static_assert(sizeof(CUmemAllocationProp) == 32, "CUmemAllocationProp");

enum {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NOT_INITIALIZED = 3,
    CUDA_ERROR_NO_DEVICE = 100,
    CUDA_ERROR_INVALID_DEVICE = 101,
    CUDA_ERROR_INVALID_CONTEXT = 201,
    CUDA_ERROR_INVALID_HANDLE = 400,
    CUDA_ERROR_NOT_FOUND = 500,
    CUDA_ERROR_NOT_READY = 600,
};

struct hcs_sim_allocation_node; /* graph_memory.h */

CUresult cuInit(unsigned flags);
CUresult cuDriverGetVersion(int *version);
CUresult cuDeviceGetCount(int *count);
CUresult cuDeviceGet(CUdevice *device, int ordinal);
CUresult cuDeviceGetName(char *name, int length, CUdevice device);
CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device);
CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device);
CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device);
CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device);
CUresult cuDevicePrimaryCtxRelease(CUdevice device);
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device);
CUresult cuDevicePrimaryCtxReset(CUdevice device);
CUresult cuDevicePrimaryCtxReset_v2(CUdevice device);
CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active);
CUresult cuCtxCreate(CUcontext *context, unsigned flags, CUdevice device);
CUresult cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device);
CUresult cuCtxCreate_v3(CUcontext *context, void *affinities, int count, unsigned flags,
                        CUdevice device);
CUresult cuCtxCreate_v4(CUcontext *context, void *parameters, unsigned flags, CUdevice device);
CUresult cuCtxDestroy(CUcontext context);
CUresult cuCtxDestroy_v2(CUcontext context);
CUresult cuCtxSetCurrent(CUcontext context);
CUresult cuCtxPushCurrent_v2(CUcontext context);
CUresult cuCtxPopCurrent_v2(CUcontext *context);
CUresult cuCtxGetCurrent(CUcontext *context);
CUresult cuCtxGetDevice(CUdevice *device);
CUresult cuCtxSynchronize(void);
CUresult cuCtxSynchronize_v2(CUcontext context);
CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes);
CUresult cuMemAllocManaged(CUdeviceptr *pointer, size_t bytes, unsigned flags);
CUresult cuMemAllocPitch_v2(CUdeviceptr *pointer, size_t *pitch, size_t width, size_t height,
                            unsigned element);
CUresult cuMemFree_v2(CUdeviceptr pointer);
CUresult cuMemAllocAsync(CUdeviceptr *pointer, size_t bytes, void *stream);
CUresult cuMemAllocAsync_ptsz(CUdeviceptr *pointer, size_t bytes, void *stream);
CUresult cuDeviceGetDefaultMemPool(void **pool, CUdevice device);
CUresult cuDeviceGetMemPool(void **pool, CUdevice device);
CUresult cuDeviceSetMemPool(CUdevice device, void *pool);
CUresult cuMemPoolCreate(void **pool, const CUmemPoolProps *properties);
CUresult cuMemPoolDestroy(void *pool);
CUresult cuMemPoolGetAttribute(void *pool, int attribute, void *value);
CUresult cuMemPoolSetAttribute(void *pool, int attribute, void *value);
CUresult cuMemPoolTrimTo(void *pool, size_t bytes);
CUresult cuMemAllocFromPoolAsync(CUdeviceptr *pointer, size_t bytes, void *pool, void *stream);
CUresult cuMemAllocFromPoolAsync_ptsz(CUdeviceptr *pointer, size_t bytes, void *pool,
                                      void *stream);
CUresult cuMemFreeAsync(CUdeviceptr pointer, void *stream);
CUresult cuMemFreeAsync_ptsz(CUdeviceptr pointer, void *stream);
CUresult cuArrayCreate_v2(void **array, const CUDA_ARRAY_DESCRIPTOR *descriptor);
CUresult cuArray3DCreate_v2(void **array, const CUDA_ARRAY3D_DESCRIPTOR *descriptor);
CUresult cuArrayDestroy(void *array);
CUresult cuMipmappedArrayCreate(void **array, const CUDA_ARRAY3D_DESCRIPTOR *descriptor,
                                unsigned levels);
CUresult cuMipmappedArrayDestroy(void *array);
CUresult cuMemAddressReserve(CUdeviceptr *pointer, size_t bytes, size_t alignment,
                             CUdeviceptr wanted, uint64_t flags);
CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t bytes,
                     const CUmemAllocationProp *properties, uint64_t flags);
CUresult cuMemMap(CUdeviceptr pointer, size_t bytes, size_t offset,
                  CUmemGenericAllocationHandle handle, uint64_t flags);
CUresult cuMemUnmap(CUdeviceptr pointer, size_t bytes);
CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *address);
CUresult cuMemRelease(CUmemGenericAllocationHandle handle);
CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags);
CUresult cuMemFreeHost(void *pointer);
CUresult cuMemHostRegister_v2(void *pointer, size_t bytes, unsigned flags);
CUresult cuMemHostUnregister(void *pointer);
CUresult cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr pointer);
CUresult cuIpcOpenMemHandle(CUdeviceptr *pointer, CUipcMemHandle handle, unsigned flags);
CUresult cuMemImportFromShareableHandle(uint64_t *handle, void *exported, int type);
CUresult cuMemPoolImportFromShareableHandle(void **pool, void *exported, int type, uint64_t flags);
CUresult cuImportExternalMemory(void **memory, const void *descriptor);
CUresult cuIpcOpenMemHandle_v2(CUdeviceptr *pointer, CUipcMemHandle handle, unsigned flags);
CUresult cuIpcCloseMemHandle(CUdeviceptr pointer);
CUresult cuStreamCreate(void **stream, unsigned flags);
CUresult cuStreamDestroy_v2(void *stream);
CUresult cuStreamQuery(void *stream);
CUresult cuStreamGetCtx(void *stream, CUcontext *context);
CUresult cuStreamSynchronize(void *stream);
CUresult cuStreamSynchronize_ptsz(void *stream);
CUresult cuEventCreate(void **event, unsigned flags);
CUresult cuEventDestroy_v2(void *event);
CUresult cuEventRecord(void *event, void *stream);
CUresult cuEventQuery(void *event);
CUresult cuEventSynchronize(void *event);
CUresult cuEventElapsedTime(float *milliseconds, void *start, void *end);
CUresult cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z,
                        unsigned shared_bytes, void *stream, void **parameters, void **extra);
CUresult cuLaunchKernel_ptsz(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                             unsigned block_x, unsigned block_y, unsigned block_z,
                             unsigned shared_bytes, void *stream, void **parameters, void **extra);
CUresult cuLaunchKernelEx(const CUlaunchConfig *config, void *function, void **parameters,
                          void **extra);
CUresult cuLaunchKernelEx_ptsz(const CUlaunchConfig *config, void *function, void **parameters,
                               void **extra);
CUresult cuLaunchCooperativeKernel(void *function, unsigned grid_x, unsigned grid_y,
                                   unsigned grid_z, unsigned block_x, unsigned block_y,
                                   unsigned block_z, unsigned shared_bytes, void *stream,
                                   void **parameters);
CUresult cuLaunchCooperativeKernel_ptsz(void *function, unsigned grid_x, unsigned grid_y,
                                        unsigned grid_z, unsigned block_x, unsigned block_y,
                                        unsigned block_z, unsigned shared_bytes, void *stream,
                                        void **parameters);
CUresult cuLaunch(void *function);
CUresult cuLaunchGrid(void *function, int width, int height);
CUresult cuLaunchGridAsync(void *function, int width, int height, void *stream);
CUresult cuLaunchCooperativeKernelMultiDevice(const CUDA_LAUNCH_PARAMS *launches, unsigned count,
                                              unsigned flags);
CUresult cuStreamBeginCapture_v2(void *stream, int mode);
CUresult cuStreamEndCapture(void *stream, void **graph);
CUresult cuStreamIsCapturing(void *stream, int *status);
CUresult cuThreadExchangeStreamCaptureMode(int *mode);
CUresult cuGraphInstantiateWithFlags(void **executable, void *graph, uint64_t flags);
CUresult cuGraphInstantiate(void **executable, void *graph, void **node, char *text,
                            size_t text_bytes);
CUresult cuGraphInstantiate_v2(void **executable, void *graph, void **node, char *text,
                               size_t text_bytes);
CUresult cuGraphInstantiateWithParams(void **executable, void *graph,
                                      CUDA_GRAPH_INSTANTIATE_PARAMS *parameters);
CUresult cuGraphInstantiateWithParams_ptsz(void **executable, void *graph,
                                           CUDA_GRAPH_INSTANTIATE_PARAMS *parameters);
CUresult cuGraphCreate(void **graph, unsigned flags);
CUresult cuGraphAddMemAllocNode(void **node, void *graph, const void *const *behind, size_t count,
                                struct hcs_sim_allocation_node *parameters);
CUresult cuGraphAddMemFreeNode(void **node, void *graph, const void *const *behind, size_t count,
                               CUdeviceptr pointer);
CUresult cuGraphGetNodes(void *graph, void **nodes, size_t *count);
CUresult cuGraphNodeGetType(void *node, int *type);
CUresult cuGraphMemAllocNodeGetParams(void *node, struct hcs_sim_allocation_node *parameters);
CUresult cuDeviceGetGraphMemAttribute(CUdevice device, int attribute, void *value);
CUresult cuDeviceGraphMemTrim(CUdevice device);
CUresult cuGraphExecDestroy(void *executable);
CUresult cuGraphUpload(void *executable, void *stream);
CUresult cuGraphUpload_ptsz(void *executable, void *stream);
CUresult cuGraphLaunch(void *executable, void *stream);
CUresult cuGraphLaunch_ptsz(void *executable, void *stream);
CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes);
CUresult cuGetErrorName(CUresult error, const char **name);
CUresult cuGetExportTable(const void **table, const CUuuid *id);
CUresult cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags);
CUresult cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags,
                             int *status);

/* What NVIDIA's runtime has of the driver by a number instead of a name. Of its table, which no
 * header shows, others who implement the driver know the second function: the runtime has its
 * primary contexts by that. */
#define HCS_CUDART_TABLE                                                                           \
    (CUuuid) {                                                                                     \
        {                                                                                          \
            '\x6b', '\xd5', '\xfb', '\x6c', '\x5b', '\xf4', '\xe7', '\x4a',                        \
            '\x89', '\x87', '\xd9', '\x39', '\x12', '\xfd', '\x9d', '\xf9',                        \
        }                                                                                          \
    }
struct hcs_cudart_table {
    size_t bytes;
    void *unknown;
    CUresult (*retain_primary)(CUcontext *context, CUdevice device);
};

/* For cuda_memory.c and cuda_work.c: the calling thread's context and its card, NULL without one;
 * a card by the process's ordinal; CUDA_SUCCESS, or what a call without a context gets. */
const struct hcs_sim_device *hcs_cuda_current_card(void);
const struct hcs_sim_device *hcs_cuda_card(CUdevice device);
CUcontext hcs_cuda_current(void);
CUresult hcs_cuda_check_current(void);

/* The card of a context; and of a location of memory, NULL where that is on none. */
CUdevice hcs_cuda_device_of(CUcontext context);
const struct hcs_sim_device *hcs_cuda_card_at(int location_type, int location_id);

#endif
