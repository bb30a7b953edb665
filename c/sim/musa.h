/* The part of Moore Threads' driver API that the simulation has: CUDA's, with other names. */
#ifndef HCS_SIM_MUSA_H
#define HCS_SIM_MUSA_H

#include <stddef.h>
#include <stdint.h>

typedef int MUresult;
typedef struct MUctx_st *MUcontext;
struct memory_location { /* the part of MUmemAllocationProp that says where */
    int allocation_type, handle_types;
    int location_type, location_id;
};
struct pool_properties { /* the part of MUmemPoolProps that says where, by analogy */
    int allocation_type, handle_types;
    int location_type, location_id;
};

typedef struct {
    unsigned gridDimX, gridDimY, gridDimZ;
    unsigned blockDimX, blockDimY, blockDimZ;
    unsigned sharedMemBytes;
    void *hStream;
    void *attrs;
    unsigned numAttrs;
} MUlaunchConfig;
_Static_assert(sizeof(MUlaunchConfig) == 56, "MUlaunchConfig");

enum {
    MUSA_SUCCESS = 0,
    MUSA_ERROR_INVALID_VALUE = 1,
    MUSA_ERROR_OUT_OF_MEMORY = 2,
    MUSA_ERROR_NOT_INITIALIZED = 3,
    MUSA_ERROR_INVALID_DEVICE = 101,
    MUSA_ERROR_INVALID_CONTEXT = 201,
    MUSA_ERROR_INVALID_HANDLE = 400,
};

MUresult muInit(unsigned flags);
MUresult muDeviceGetCount(int *count);
MUresult muDeviceTotalMem_v2(size_t *bytes, int device);
MUresult muDevicePrimaryCtxRetain(MUcontext *context, int device);
MUresult muDevicePrimaryCtxRelease_v2(int device);
MUresult muDevicePrimaryCtxGetState(int device, unsigned *flags, int *active);
MUresult muDevicePrimaryCtxReset_v2(int device);
MUresult muCtxSetCurrent(MUcontext context);
MUresult muCtxGetCurrent(MUcontext *context);
MUresult muCtxGetDevice(int *device);
MUresult muCtxPushCurrent_v2(MUcontext context);
MUresult muCtxPopCurrent_v2(MUcontext *context);
MUresult muMemAlloc_v2(uint64_t *pointer, size_t bytes);
MUresult muMemAllocManaged(uint64_t *pointer, size_t bytes, unsigned flags);
MUresult muMemAllocPitch_v2(uint64_t *pointer, size_t *pitch, size_t width, size_t height,
                            unsigned element);
MUresult muMemFree_v2(uint64_t pointer);
MUresult muMemPoolCreate(void **pool, const struct pool_properties *properties);
MUresult muMemPoolDestroy(void *pool);
MUresult muDeviceGetMemPool(void **pool, int device);
MUresult muMemPoolGetAttribute(void *pool, int attribute, void *value);
MUresult muMemPoolTrimTo(void *pool, size_t bytes);
MUresult muMemAllocAsync(uint64_t *pointer, size_t bytes, void *stream);
MUresult muMemAllocFromPoolAsync(uint64_t *pointer, size_t bytes, void *pool, void *stream);
MUresult muMemFreeAsync(uint64_t pointer, void *stream);
MUresult muMemAllocAsync_ptsz(uint64_t *pointer, size_t bytes, void *stream);
MUresult muMemAllocFromPoolAsync_ptsz(uint64_t *pointer, size_t bytes, void *pool, void *stream);
MUresult muMemFreeAsync_ptsz(uint64_t pointer, void *stream);
MUresult muMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes);
MUresult muMemAddressReserve(uint64_t *address, size_t bytes, size_t alignment, uint64_t wanted,
                             uint64_t flags);
MUresult muMemCreate(uint64_t *handle, size_t bytes, const struct memory_location *location,
                     uint64_t flags);
MUresult muMemMap(uint64_t address, size_t bytes, size_t offset, uint64_t handle, uint64_t flags);
MUresult muMemUnmap(uint64_t address, size_t bytes);
MUresult muMemRetainAllocationHandle(uint64_t *handle, void *address);
MUresult muMemRelease(uint64_t handle);

MUresult muStreamCreate(void **stream, unsigned flags);
MUresult muStreamDestroy_v2(void *stream);
MUresult muStreamGetCtx(void *stream, MUcontext *context);
MUresult muStreamQuery(void *stream);
MUresult muStreamSynchronize(void *stream);
MUresult muStreamSynchronize_ptsz(void *stream);
MUresult muCtxSynchronize(void);
MUresult muEventCreate(void **event, unsigned flags);
MUresult muEventDestroy_v2(void *event);
MUresult muEventRecord(void *event, void *stream);
MUresult muEventQuery(void *event);
MUresult muEventSynchronize(void *event);
MUresult muEventElapsedTime(float *milliseconds, void *start, void *end);
MUresult muLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                        void *stream, void **parameters, void **extra);
MUresult muLaunchKernel_ptsz(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                             unsigned block_x, unsigned block_y, unsigned block_z,
                             unsigned shared_bytes, void *stream, void **parameters, void **extra);
MUresult muLaunchKernelEx(const MUlaunchConfig *config, void *function, void **parameters,
                          void **extra);
MUresult muLaunchKernelEx_ptsz(const MUlaunchConfig *config, void *function, void **parameters,
                               void **extra);
MUresult muLaunchCooperativeKernel(void *function, unsigned grid_x, unsigned grid_y,
                                   unsigned grid_z, unsigned block_x, unsigned block_y,
                                   unsigned block_z, unsigned shared_bytes, void *stream,
                                   void **parameters);
MUresult muLaunchCooperativeKernel_ptsz(void *function, unsigned grid_x, unsigned grid_y,
                                        unsigned grid_z, unsigned block_x, unsigned block_y,
                                        unsigned block_z, unsigned shared_bytes, void *stream,
                                        void **parameters);
MUresult muStreamBeginCapture(void *stream, int mode);
MUresult muStreamEndCapture(void *stream, void **graph);
MUresult muStreamIsCapturing(void *stream, int *status);
MUresult muThreadExchangeStreamCaptureMode(int *mode);
MUresult muGraphInstantiateWithFlags(void **executable, void *graph, uint64_t flags);
MUresult muGraphLaunch(void *executable, void *stream);
MUresult muGraphLaunch_ptsz(void *executable, void *stream);

#endif
