/* The simulated libmusart.so, on top of libmusa.so; where they meet, the numbers are the same. */
#include <stddef.h>
#include <stdint.h>

#include "musa.h"

#define HCS_EXPORT __attribute__((visibility("default")))
#define PITCH_BYTES 512

typedef int musaError_t;
struct dim3 {
    uint32_t x, y, z;
};
struct musaPitchedPtr {
    void *ptr;
    size_t pitch, xsize, ysize;
};
struct musaExtent {
    size_t width, height, depth;
};
typedef struct {
    struct dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    void *stream;
    void *attrs;
    unsigned numAttrs;
} musaLaunchConfig_t;
struct musaDeviceProp { /* its beginning, which is CUDA's */
    char name[256], uuid[16], luid[8];
    unsigned luidDeviceNodeMask;
    size_t totalGlobalMem;
};
_Static_assert(sizeof(musaLaunchConfig_t) == 56, "musaLaunchConfig_t");
_Static_assert(offsetof(struct musaDeviceProp, totalGlobalMem) == 288, "musaDeviceProp");

musaError_t musaGetDeviceCount(int *count);
musaError_t musaSetDevice(int device);
musaError_t musaGetDevice(int *device);
musaError_t musaGetDeviceProperties(struct musaDeviceProp *properties, int device);
musaError_t musaGetDeviceProperties_v2(struct musaDeviceProp *properties, int device);
musaError_t musaDeviceReset(void);
musaError_t musaMalloc(void **pointer, size_t bytes);
musaError_t musaMallocManaged(void **pointer, size_t bytes, unsigned flags);
musaError_t musaMallocPitch(void **pointer, size_t *pitch, size_t width, size_t height);
musaError_t musaMalloc3D(struct musaPitchedPtr *pitched, struct musaExtent extent);
musaError_t musaMallocAsync(void **pointer, size_t bytes, void *stream);
musaError_t musaMallocAsync_ptsz(void **pointer, size_t bytes, void *stream);
musaError_t musaMallocFromPoolAsync(void **pointer, size_t bytes, void *pool, void *stream);
musaError_t musaMallocFromPoolAsync_ptsz(void **pointer, size_t bytes, void *pool, void *stream);
musaError_t musaMemPoolCreate(void **pool, const struct pool_properties *properties);
musaError_t musaMemPoolDestroy(void *pool);
musaError_t musaDeviceGetMemPool(void **pool, int device);
musaError_t musaMemPoolGetAttribute(void *pool, int attribute, void *value);
musaError_t musaMemPoolTrimTo(void *pool, size_t bytes);
musaError_t musaFree(void *pointer);
musaError_t musaFreeAsync(void *pointer, void *stream);
musaError_t musaFreeAsync_ptsz(void *pointer, void *stream);
musaError_t musaMemGetInfo(size_t *free_bytes, size_t *total_bytes);
musaError_t musaDeviceSynchronize(void);
musaError_t musaStreamCreate(void **stream);
musaError_t musaStreamDestroy(void *stream);
musaError_t musaStreamSynchronize(void *stream);
musaError_t musaStreamSynchronize_ptsz(void *stream);
musaError_t musaEventCreateWithFlags(void **event, unsigned flags);
musaError_t musaEventCreate(void **event);
musaError_t musaEventDestroy(void *event);
musaError_t musaEventRecord(void *event, void *stream);
musaError_t musaEventQuery(void *event);
musaError_t musaEventSynchronize(void *event);
musaError_t musaEventElapsedTime(float *milliseconds, void *start, void *end);
musaError_t musaLaunchKernel(const void *function, struct dim3 grid, struct dim3 block,
                             void **parameters, size_t shared_bytes, void *stream);
musaError_t musaLaunchKernel_ptsz(const void *function, struct dim3 grid, struct dim3 block,
                                  void **parameters, size_t shared_bytes, void *stream);
musaError_t musaLaunchCooperativeKernel(const void *function, struct dim3 grid, struct dim3 block,
                                        void **parameters, size_t shared_bytes, void *stream);
musaError_t musaLaunchCooperativeKernel_ptsz(const void *function, struct dim3 grid,
                                             struct dim3 block, void **parameters,
                                             size_t shared_bytes, void *stream);
musaError_t musaLaunchKernelExC(const musaLaunchConfig_t *config, const void *function,
                                void **parameters);
musaError_t musaLaunchKernelExC_ptsz(const musaLaunchConfig_t *config, const void *function,
                                     void **parameters);
musaError_t musaStreamBeginCapture(void *stream, int mode);
musaError_t musaStreamEndCapture(void *stream, void **graph);
musaError_t musaStreamIsCapturing(void *stream, int *status);
musaError_t musaThreadExchangeStreamCaptureMode(int *mode);
musaError_t musaGraphInstantiate(void **executable, void *graph, void **error_node, char *log,
                                 size_t log_bytes);
musaError_t musaGraphLaunch(void *executable, void *stream);
musaError_t musaGraphLaunch_ptsz(void *executable, void *stream);

static __thread int current_device;

/* Make the thread's card current, as the first call that needs one does. */
static musaError_t enter(void) {
    MUcontext context;
    muInit(0);
    MUresult result = muDevicePrimaryCtxRetain(&context, current_device);
    return result == MUSA_SUCCESS ? muCtxSetCurrent(context) : result;
}

HCS_EXPORT musaError_t musaGetDeviceCount(int *count) {
    muInit(0);
    return muDeviceGetCount(count);
}

HCS_EXPORT musaError_t musaSetDevice(int device) {
    current_device = device;
    return enter();
}

HCS_EXPORT musaError_t musaGetDevice(int *device) {
    *device = current_device;
    return MUSA_SUCCESS;
}

/* Of a card's properties only its size. */
HCS_EXPORT musaError_t musaGetDeviceProperties(struct musaDeviceProp *properties, int device) {
    size_t bytes;
    muInit(0);
    MUresult result =
        properties != NULL ? muDeviceTotalMem_v2(&bytes, device) : MUSA_ERROR_INVALID_VALUE;
    if (result == MUSA_SUCCESS) {
        *properties = (struct musaDeviceProp){.totalGlobalMem = bytes};
    }
    return result;
}

/* What newer programs are linked with. */
HCS_EXPORT musaError_t musaGetDeviceProperties_v2(struct musaDeviceProp *properties, int device) {
    return musaGetDeviceProperties(properties, device);
}

HCS_EXPORT musaError_t musaDeviceReset(void) { return muDevicePrimaryCtxReset_v2(current_device); }

HCS_EXPORT musaError_t musaMalloc(void **pointer, size_t bytes) {
    uint64_t address;
    musaError_t error = enter();
    error = error == MUSA_SUCCESS ? muMemAlloc_v2(&address, bytes) : error;
    if (error == MUSA_SUCCESS) {
        *pointer = (void *)(uintptr_t)address;
    }
    return error;
}

HCS_EXPORT musaError_t musaMallocManaged(void **pointer, size_t bytes, unsigned flags) {
    (void)flags;
    return musaMalloc(pointer, bytes);
}

HCS_EXPORT musaError_t musaMallocPitch(void **pointer, size_t *pitch, size_t width,
                                       size_t height) {
    *pitch = (width + PITCH_BYTES - 1) / PITCH_BYTES * PITCH_BYTES;
    return musaMalloc(pointer, *pitch * height);
}

HCS_EXPORT musaError_t musaMalloc3D(struct musaPitchedPtr *pitched, struct musaExtent extent) {
    pitched->xsize = extent.width;
    pitched->ysize = extent.height;
    return musaMallocPitch(&pitched->ptr, &pitched->pitch, extent.width,
                           extent.height * extent.depth);
}

HCS_EXPORT musaError_t musaMallocAsync(void **pointer, size_t bytes, void *stream) {
    uint64_t address;
    musaError_t error = enter();
    error = error == MUSA_SUCCESS ? muMemAllocAsync(&address, bytes, stream) : error;
    if (error == MUSA_SUCCESS) {
        *pointer = (void *)(uintptr_t)address;
    }
    return error;
}

HCS_EXPORT musaError_t musaMallocFromPoolAsync(void **pointer, size_t bytes, void *pool,
                                               void *stream) {
    uint64_t address;
    musaError_t error = enter();
    error = error == MUSA_SUCCESS ? muMemAllocFromPoolAsync(&address, bytes, pool, stream) : error;
    if (error == MUSA_SUCCESS) {
        *pointer = (void *)(uintptr_t)address;
    }
    return error;
}

/* The same in the thread's own stream. */
HCS_EXPORT musaError_t musaMallocAsync_ptsz(void **pointer, size_t bytes, void *stream) {
    return musaMallocAsync(pointer, bytes, stream);
}
HCS_EXPORT musaError_t musaMallocFromPoolAsync_ptsz(void **pointer, size_t bytes, void *pool,
                                                    void *stream) {
    return musaMallocFromPoolAsync(pointer, bytes, pool, stream);
}

HCS_EXPORT musaError_t musaMemPoolCreate(void **pool, const struct pool_properties *properties) {
    musaError_t error = enter();
    return error == MUSA_SUCCESS ? muMemPoolCreate(pool, properties) : error;
}

HCS_EXPORT musaError_t musaMemPoolDestroy(void *pool) { return muMemPoolDestroy(pool); }

HCS_EXPORT musaError_t musaDeviceGetMemPool(void **pool, int device) {
    musaError_t error = enter();
    return error == MUSA_SUCCESS ? muDeviceGetMemPool(pool, device) : error;
}

HCS_EXPORT musaError_t musaMemPoolGetAttribute(void *pool, int attribute, void *value) {
    return muMemPoolGetAttribute(pool, attribute, value);
}

HCS_EXPORT musaError_t musaMemPoolTrimTo(void *pool, size_t bytes) {
    return muMemPoolTrimTo(pool, bytes);
}

HCS_EXPORT musaError_t musaFree(void *pointer) {
    return muMemFree_v2((uint64_t)(uintptr_t)pointer);
}

HCS_EXPORT musaError_t musaFreeAsync(void *pointer, void *stream) {
    (void)stream;
    return musaFree(pointer);
}

HCS_EXPORT musaError_t musaFreeAsync_ptsz(void *pointer, void *stream) {
    return musaFreeAsync(pointer, stream);
}

HCS_EXPORT musaError_t musaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    musaError_t error = enter();
    return error == MUSA_SUCCESS ? muMemGetInfo_v2(free_bytes, total_bytes) : error;
}

/* A call on the thread's card. */
#define ENTERED(CALL)                                                                              \
    musaError_t error = enter();                                                                   \
    return error == MUSA_SUCCESS ? (CALL) : error

/* Streams, events and graphs are the driver's. */
HCS_EXPORT musaError_t musaDeviceSynchronize(void) { ENTERED(muCtxSynchronize()); }
HCS_EXPORT musaError_t musaStreamCreate(void **stream) { ENTERED(muStreamCreate(stream, 0)); }
HCS_EXPORT musaError_t musaStreamDestroy(void *stream) { return muStreamDestroy_v2(stream); }
HCS_EXPORT musaError_t musaStreamSynchronize(void *stream) {
    ENTERED(muStreamSynchronize(stream));
}

HCS_EXPORT musaError_t musaStreamSynchronize_ptsz(void *stream) {
    ENTERED(muStreamSynchronize_ptsz(stream));
}

HCS_EXPORT musaError_t musaEventCreateWithFlags(void **event, unsigned flags) {
    ENTERED(muEventCreate(event, flags));
}
HCS_EXPORT musaError_t musaEventCreate(void **event) { return musaEventCreateWithFlags(event, 0); }
HCS_EXPORT musaError_t musaEventDestroy(void *event) { return muEventDestroy_v2(event); }
HCS_EXPORT musaError_t musaEventRecord(void *event, void *stream) {
    ENTERED(muEventRecord(event, stream));
}
HCS_EXPORT musaError_t musaEventQuery(void *event) { return muEventQuery(event); }
HCS_EXPORT musaError_t musaEventSynchronize(void *event) { return muEventSynchronize(event); }
HCS_EXPORT musaError_t musaEventElapsedTime(float *milliseconds, void *start, void *end) {
    return muEventElapsedTime(milliseconds, start, end);
}

HCS_EXPORT musaError_t musaLaunchKernel(const void *function, struct dim3 grid, struct dim3 block,
                                        void **parameters, size_t shared_bytes, void *stream) {
    ENTERED(muLaunchKernel((void *)(uintptr_t)function, grid.x, grid.y, grid.z, block.x, block.y,
                           block.z, (unsigned)shared_bytes, stream, parameters, NULL));
}
HCS_EXPORT musaError_t musaLaunchKernel_ptsz(const void *function, struct dim3 grid,
                                             struct dim3 block, void **parameters,
                                             size_t shared_bytes, void *stream) {
    ENTERED(muLaunchKernel_ptsz((void *)(uintptr_t)function, grid.x, grid.y, grid.z, block.x,
                                block.y, block.z, (unsigned)shared_bytes, stream, parameters,
                                NULL));
}
HCS_EXPORT musaError_t musaLaunchCooperativeKernel(const void *function, struct dim3 grid,
                                                   struct dim3 block, void **parameters,
                                                   size_t shared_bytes, void *stream) {
    return musaLaunchKernel(function, grid, block, parameters, shared_bytes, stream);
}
HCS_EXPORT musaError_t musaLaunchCooperativeKernel_ptsz(const void *function, struct dim3 grid,
                                                        struct dim3 block, void **parameters,
                                                        size_t shared_bytes, void *stream) {
    return musaLaunchKernel_ptsz(function, grid, block, parameters, shared_bytes, stream);
}
HCS_EXPORT musaError_t musaLaunchKernelExC(const musaLaunchConfig_t *config, const void *function,
                                           void **parameters) {
    return config == NULL ? MUSA_ERROR_INVALID_VALUE
                          : musaLaunchKernel(function, config->gridDim, config->blockDim,
                                             parameters, config->dynamicSmemBytes, config->stream);
}
HCS_EXPORT musaError_t musaLaunchKernelExC_ptsz(const musaLaunchConfig_t *config,
                                                const void *function, void **parameters) {
    return config == NULL
               ? MUSA_ERROR_INVALID_VALUE
               : musaLaunchKernel_ptsz(function, config->gridDim, config->blockDim, parameters,
                                       config->dynamicSmemBytes, config->stream);
}

HCS_EXPORT musaError_t musaStreamBeginCapture(void *stream, int mode) {
    ENTERED(muStreamBeginCapture(stream, mode));
}
HCS_EXPORT musaError_t musaStreamEndCapture(void *stream, void **graph) {
    ENTERED(muStreamEndCapture(stream, graph));
}
HCS_EXPORT musaError_t musaStreamIsCapturing(void *stream, int *status) {
    ENTERED(muStreamIsCapturing(stream, status));
}
HCS_EXPORT musaError_t musaThreadExchangeStreamCaptureMode(int *mode) {
    return muThreadExchangeStreamCaptureMode(mode);
}
HCS_EXPORT musaError_t musaGraphInstantiate(void **executable, void *graph, void **error_node,
                                            char *log, size_t log_bytes) {
    (void)error_node, (void)log, (void)log_bytes;
    return muGraphInstantiateWithFlags(executable, graph, 0);
}
HCS_EXPORT musaError_t musaGraphLaunch(void *executable, void *stream) {
    ENTERED(muGraphLaunch(executable, stream));
}
HCS_EXPORT musaError_t musaGraphLaunch_ptsz(void *executable, void *stream) {
    ENTERED(muGraphLaunch_ptsz(executable, stream));
}
