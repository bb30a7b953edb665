/* What the parts of the simulated libamdhip64.so share. */
#ifndef HCS_SIM_HIP_H
#define HCS_SIM_HIP_H

#include <stddef.h>
#include <stdint.h>

#include "runtime_cards.h"

typedef int hipError_t;
typedef struct {
    char reserved[64];
} hipIpcMemHandle_t;
enum {
    hipSuccess = 0,
    hipErrorInvalidValue = 1,
    hipErrorOutOfMemory = 2,
    hipErrorInvalidDevice = 101,
};

/* Keep a call's result as the thread's last error: successes, too, as HIP did before ROCm 6. (Only
 * where a test looks: launches, events, pools.) */
hipError_t hcs_hip_answer(hipError_t result);

struct dim3 {
    uint32_t x, y, z;
};

struct hipExtent {
    size_t width, height, depth;
};
struct hipPitchedPtr {
    void *ptr;
    size_t pitch, xsize, ysize;
};
struct hipChannelFormatDesc { /* bits of each channel */
    int x, y, z, w, f;
};
struct HIP_ARRAY_DESCRIPTOR {
    size_t Width, Height;
    unsigned Format, NumChannels;
};
struct HIP_ARRAY3D_DESCRIPTOR {
    size_t Width, Height, Depth;
    unsigned Format, NumChannels, Flags;
};
struct hipDeviceProp_tR0000 { /* before ROCm 6 */
    char name[256];
    size_t totalGlobalMem;
    char rest[528];
};
struct hipDeviceProp_tR0600 {
    char name[256], uuid[16], luid[8];
    unsigned luidDeviceNodeMask;
    size_t totalGlobalMem;
    char rest[1176];
};
struct hipLaunchConfig_t {
    struct dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    void *stream, *attrs;
    unsigned numAttrs;
};
struct HIP_LAUNCH_CONFIG {
    unsigned gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes;
    void *hStream, *attrs;
    unsigned numAttrs;
};
struct hipLaunchParams {
    void *func;
    struct dim3 gridDim, blockDim;
    void **args;
    size_t sharedMem;
    void *stream;
};
struct hipFunctionLaunchParams {
    void *function;
    unsigned gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes;
    void *hStream, **kernelParams;
};
struct hipGraphInstantiateParams {
    void *errNode_out;
    uint64_t flags;
    int result_out;
    void *uploadStream;
};
_Static_assert(sizeof(struct hipDeviceProp_tR0000) == 792, "hipDeviceProp_tR0000");
_Static_assert(sizeof(struct hipDeviceProp_tR0600) == 1472, "hipDeviceProp_tR0600");
_Static_assert(offsetof(struct hipLaunchConfig_t, stream) == 32, "hipLaunchConfig_t");
_Static_assert(offsetof(struct HIP_LAUNCH_CONFIG, hStream) == 32, "HIP_LAUNCH_CONFIG");
_Static_assert(offsetof(struct hipLaunchParams, stream) == 48, "hipLaunchParams");
_Static_assert(offsetof(struct hipFunctionLaunchParams, hStream) == 40, "hipFunctionLaunchParams");
struct memory_location { /* the part of hipMemAllocationProp that says where */
    int allocation_type, handle_types;
    int location_type, location_id;
};

struct hcs_sim_allocation_node; /* graph_memory.h */

hipError_t hipInit(unsigned flags);
hipError_t hipGetDeviceCount(int *count);
hipError_t hipGetDevice(int *device);
hipError_t hipSetDevice(int device);
hipError_t hipDeviceReset(void);
hipError_t hipDeviceTotalMem(size_t *bytes, int device);
hipError_t hipGetDevicePropertiesR0000(struct hipDeviceProp_tR0000 *properties, int device);
hipError_t hipGetDevicePropertiesR0600(struct hipDeviceProp_tR0600 *properties, int device);
hipError_t hipGetDeviceProperties(struct hipDeviceProp_tR0000 *properties, int device);
hipError_t hipMemGetInfo(size_t *free_bytes, size_t *total_bytes);
hipError_t hipMalloc(void **pointer, size_t bytes);
hipError_t hipExtMallocWithFlags(void **pointer, size_t bytes, unsigned flags);
hipError_t hipMallocManaged(void **pointer, size_t bytes, unsigned flags);
hipError_t hipMallocPitch(void **pointer, size_t *pitch, size_t width, size_t height);
hipError_t hipMemAllocPitch(void **pointer, size_t *pitch, size_t width, size_t height,
                            unsigned element);
hipError_t hipMalloc3D(struct hipPitchedPtr *pitched, struct hipExtent extent);
hipError_t hipMallocArray(void **array, const struct hipChannelFormatDesc *channels, size_t width,
                          size_t height, unsigned flags);
hipError_t hipMalloc3DArray(void **array, const struct hipChannelFormatDesc *channels,
                            struct hipExtent extent, unsigned flags);
hipError_t hipFreeArray(void *array);
hipError_t hipMallocMipmappedArray(void **array, const struct hipChannelFormatDesc *channels,
                                   struct hipExtent extent, unsigned levels, unsigned flags);
hipError_t hipFreeMipmappedArray(void *array);
hipError_t hipArrayCreate(void **array, const struct HIP_ARRAY_DESCRIPTOR *descriptor);
hipError_t hipArray3DCreate(void **array, const struct HIP_ARRAY3D_DESCRIPTOR *descriptor);
hipError_t hipArrayDestroy(void *array);
hipError_t hipMipmappedArrayCreate(void **array, const struct HIP_ARRAY3D_DESCRIPTOR *descriptor,
                                   unsigned levels);
hipError_t hipMipmappedArrayDestroy(void *array);
hipError_t hipMemAddressReserve(void **address, size_t bytes, size_t alignment, void *wanted,
                                uint64_t flags);
hipError_t hipMemCreate(void **handle, size_t bytes, const struct memory_location *location,
                        uint64_t flags);
hipError_t hipMemMap(void *address, size_t bytes, size_t offset, void *handle, uint64_t flags);
hipError_t hipMemUnmap(void *address, size_t bytes);
hipError_t hipMemRetainAllocationHandle(void **handle, void *address);
hipError_t hipMemRelease(void *handle);
hipError_t hipIpcOpenMemHandle(void **pointer, hipIpcMemHandle_t handle, unsigned flags);
hipError_t hipMemImportFromShareableHandle(void **handle, void *exported, int type);
hipError_t hipMemPoolImportFromShareableHandle(void **pool, void *exported, int type,
                                               unsigned flags);
hipError_t hipImportExternalMemory(void **memory, const void *descriptor);
hipError_t hipGetProcAddress(const char *symbol, void **function, int version, uint64_t flags,
                             int *status);
hipError_t hipGetProcAddress_spt(const char *symbol, void **function, int version, uint64_t flags,
                                 int *status);
hipError_t hipGetDriverEntryPoint(const char *symbol, void **function, uint64_t flags, int *status);
hipError_t hipGetDriverEntryPoint_spt(const char *symbol, void **function, uint64_t flags,
                                      int *status);
hipError_t hipDeviceGetDefaultMemPool(void **pool, int device);
hipError_t hipDeviceGetMemPool(void **pool, int device);
hipError_t hipMemPoolCreate(void **pool, const struct memory_location *location);
hipError_t hipMemPoolDestroy(void *pool);
hipError_t hipMemPoolGetAttribute(void *pool, int attribute, void *value);
hipError_t hipMemPoolSetAttribute(void *pool, int attribute, void *value);
hipError_t hipMemPoolTrimTo(void *pool, size_t bytes);
hipError_t hipMallocAsync(void **pointer, size_t bytes, void *stream);
hipError_t hipMallocFromPoolAsync(void **pointer, size_t bytes, void *pool, void *stream);
hipError_t hipFree(void *pointer);
hipError_t hipFreeAsync(void *pointer, void *stream);
hipError_t hipGraphCreate(void **graph, unsigned flags);
hipError_t hipGraphAddMemAllocNode(void **node, void *graph, const void *const *behind,
                                   size_t count, struct hcs_sim_allocation_node *parameters);
hipError_t hipGraphGetNodes(void *graph, void **nodes, size_t *count);
hipError_t hipGraphNodeGetType(void *node, int *type);
hipError_t hipGraphMemAllocNodeGetParams(void *node, struct hcs_sim_allocation_node *parameters);
hipError_t hipDeviceGetGraphMemAttribute(int device, int attribute, void *value);
hipError_t hipDeviceGraphMemTrim(int device);
hipError_t hipGraphExecDestroy(void *executable);
hipError_t hipStreamCreate(void **stream);
hipError_t hipStreamDestroy(void *stream);
hipError_t hipStreamSynchronize(void *stream);
hipError_t hipStreamSynchronize_spt(void *stream);
hipError_t hipDeviceSynchronize(void);
int hipGetStreamDeviceId(void *stream);
hipError_t hipEventCreateWithFlags(void **event, unsigned flags);
hipError_t hipEventDestroy(void *event);
hipError_t hipEventRecord(void *event, void *stream);
hipError_t hipEventQuery(void *event);
hipError_t hipEventSynchronize(void *event);
hipError_t hipEventElapsedTime(float *milliseconds, void *start, void *end);
hipError_t hipGetLastError(void);
hipError_t hipPeekAtLastError(void);
hipError_t hipLaunchKernel(const void *function, struct dim3 grid, struct dim3 block,
                           void **parameters, size_t shared_bytes, void *stream);
hipError_t hipModuleLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                 unsigned block_x, unsigned block_y, unsigned block_z,
                                 unsigned shared_bytes, void *stream, void **parameters,
                                 void **extra);
hipError_t hipLaunchKernel_spt(const void *function, struct dim3 grid, struct dim3 block,
                               void **parameters, size_t shared_bytes, void *stream);
hipError_t hipLaunchCooperativeKernel(const void *function, struct dim3 grid, struct dim3 block,
                                      void **parameters, unsigned shared_bytes, void *stream);
hipError_t hipLaunchCooperativeKernel_spt(const void *function, struct dim3 grid,
                                          struct dim3 block, void **parameters,
                                          unsigned shared_bytes, void *stream);
hipError_t hipModuleLaunchCooperativeKernel(void *function, unsigned grid_x, unsigned grid_y,
                                            unsigned grid_z, unsigned block_x, unsigned block_y,
                                            unsigned block_z, unsigned shared_bytes, void *stream,
                                            void **parameters);
hipError_t hipLaunchKernelExC(const struct hipLaunchConfig_t *config, const void *function,
                              void **parameters);
hipError_t hipDrvLaunchKernelEx(const struct HIP_LAUNCH_CONFIG *config, void *function,
                                void **parameters, void **extra);
hipError_t hipExtLaunchKernel(const void *function, struct dim3 grid, struct dim3 block,
                              void **parameters, size_t shared_bytes, void *stream, void *start,
                              void *stop, int flags);
hipError_t hipExtModuleLaunchKernel(void *function, uint32_t work_x, uint32_t work_y,
                                    uint32_t work_z, uint32_t block_x, uint32_t block_y,
                                    uint32_t block_z, size_t shared_bytes, void *stream,
                                    void **parameters, void **extra, void *start, void *stop,
                                    uint32_t flags);
hipError_t hipHccModuleLaunchKernel(void *function, uint32_t work_x, uint32_t work_y,
                                    uint32_t work_z, uint32_t block_x, uint32_t block_y,
                                    uint32_t block_z, size_t shared_bytes, void *stream,
                                    void **parameters, void **extra, void *start, void *stop);
hipError_t hipLaunchCooperativeKernelMultiDevice(const struct hipLaunchParams *launches, int count,
                                                 unsigned flags);
hipError_t hipExtLaunchMultiKernelMultiDevice(const struct hipLaunchParams *launches, int count,
                                              unsigned flags);
hipError_t
hipModuleLaunchCooperativeKernelMultiDevice(const struct hipFunctionLaunchParams *launches,
                                            unsigned count, unsigned flags);
hipError_t hipStreamBeginCapture(void *stream, int mode);
hipError_t hipStreamEndCapture(void *stream, void **graph);
hipError_t hipStreamIsCapturing(void *stream, int *status);
hipError_t hipThreadExchangeStreamCaptureMode(int *mode);
hipError_t hipGraphInstantiateWithFlags(void **executable, void *graph, uint64_t flags);
hipError_t hipGraphInstantiate(void **executable, void *graph, void **node, char *text,
                               size_t text_bytes);
hipError_t hipGraphInstantiateWithParams(void **executable, void *graph,
                                         struct hipGraphInstantiateParams *parameters);
hipError_t hipGraphUpload(void *executable, void *stream);
hipError_t hipGraphLaunch(void *executable, void *stream);
hipError_t hipGraphLaunch_spt(void *executable, void *stream);

/* The thread's card. */
const struct hcs_sim_device *hcs_hip_card(void);

#endif
