/* The memory of the simulated libcudart.so.12: all of it is the driver's. */
#include "cudart.h"

#define CALL HCS_CUDART_CALL
#define ALLOCATE HCS_CUDART_ALLOCATE
#define ADDRESS(POINTER) ((CUdeviceptr)(uintptr_t)(POINTER))

struct cudaChannelFormatDesc {
    int x, y, z, w; /* bits of each channel */
    int f;          /* cudaChannelFormatKind */
};
struct cudaExtent {
    size_t width, height, depth;
};
struct cudaPitchedPtr {
    void *ptr;
    size_t pitch, xsize, ysize;
};

cudaError_t cudaMalloc(void **pointer, size_t bytes);
cudaError_t cudaFree(void *pointer);
cudaError_t cudaMallocManaged(void **pointer, size_t bytes, unsigned flags);
cudaError_t cudaMallocPitch(void **pointer, size_t *pitch, size_t width, size_t height);
cudaError_t cudaMalloc3D(struct cudaPitchedPtr *pitched, struct cudaExtent extent);
cudaError_t cudaMallocArray(void **array, const struct cudaChannelFormatDesc *channels,
                            size_t width, size_t height, unsigned flags);
cudaError_t cudaMalloc3DArray(void **array, const struct cudaChannelFormatDesc *channels,
                              struct cudaExtent extent, unsigned flags);
cudaError_t cudaFreeArray(void *array);
cudaError_t cudaMallocMipmappedArray(void **array, const struct cudaChannelFormatDesc *channels,
                                     struct cudaExtent extent, unsigned levels, unsigned flags);
cudaError_t cudaFreeMipmappedArray(void *array);
cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned flags);
cudaError_t cudaMallocHost(void **pointer, size_t bytes);
cudaError_t cudaFreeHost(void *pointer);
cudaError_t cudaHostRegister(void *pointer, size_t bytes, unsigned flags);
cudaError_t cudaHostUnregister(void *pointer);
cudaError_t cudaIpcGetMemHandle(CUipcMemHandle *handle, void *pointer);
cudaError_t cudaIpcOpenMemHandle(void **pointer, CUipcMemHandle handle, unsigned flags);
cudaError_t cudaIpcCloseMemHandle(void *pointer);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes);
cudaError_t cudaMallocAsync(void **pointer, size_t bytes, void *stream);
cudaError_t cudaMallocAsync_ptsz(void **pointer, size_t bytes, void *stream);
cudaError_t cudaMallocFromPoolAsync(void **pointer, size_t bytes, void *pool, void *stream);
cudaError_t cudaMallocFromPoolAsync_ptsz(void **pointer, size_t bytes, void *pool, void *stream);
cudaError_t cudaFreeAsync(void *pointer, void *stream);
cudaError_t cudaFreeAsync_ptsz(void *pointer, void *stream);
cudaError_t cudaDeviceGetDefaultMemPool(void **pool, int device);
cudaError_t cudaDeviceGetMemPool(void **pool, int device);
cudaError_t cudaDeviceSetMemPool(int device, void *pool);
cudaError_t cudaMemPoolCreate(void **pool, const CUmemPoolProps *properties);
cudaError_t cudaMemPoolDestroy(void *pool);
cudaError_t cudaMemPoolGetAttribute(void *pool, int attribute, void *value);
cudaError_t cudaMemPoolSetAttribute(void *pool, int attribute, void *value);
cudaError_t cudaMemPoolTrimTo(void *pool, size_t bytes);

HCS_EXPORT cudaError_t cudaMalloc(void **pointer, size_t bytes) {
    if (pointer != NULL && bytes == 0) { /* nothing is a null pointer */
        *pointer = NULL;
        return hcs_cudart_remember(hcs_cudart_enter());
    }
    ALLOCATE(pointer, cuMemAlloc(&address, bytes));
}

HCS_EXPORT cudaError_t cudaFree(void *pointer) { CALL(cuMemFree(ADDRESS(pointer))); }

HCS_EXPORT cudaError_t cudaMallocManaged(void **pointer, size_t bytes, unsigned flags) {
    ALLOCATE(pointer, cuMemAllocManaged(&address, bytes, flags));
}

HCS_EXPORT cudaError_t cudaMallocPitch(void **pointer, size_t *pitch, size_t width,
                                       size_t height) {
    ALLOCATE(pointer, cuMemAllocPitch(&address, pitch, width, height, 4));
}

HCS_EXPORT cudaError_t cudaMalloc3D(struct cudaPitchedPtr *pitched, struct cudaExtent extent) {
    pitched->xsize = extent.width;
    pitched->ysize = extent.height;
    return cudaMallocPitch(&pitched->ptr, &pitched->pitch, extent.width,
                           extent.height * extent.depth);
}

/* The driver's number for channels of so many bits: signed, unsigned or floating. */
static unsigned format_of(const struct cudaChannelFormatDesc *channels) {
    static const unsigned formats[3][3] = {
        {0x08, 0x09, 0x0a}, {0x01, 0x02, 0x03}, {0x00, 0x10, 0x20}};
    unsigned width = channels->x == 32 ? 2 : channels->x == 16 ? 1 : 0;
    return channels->f >= 0 && channels->f < 3 ? formats[channels->f][width] : 0;
}

static CUDA_ARRAY3D_DESCRIPTOR describe(const struct cudaChannelFormatDesc *channels,
                                        struct cudaExtent extent, unsigned flags) {
    unsigned count = (unsigned)((channels->x > 0) + (channels->y > 0) + (channels->z > 0) +
                                (channels->w > 0));
    return (CUDA_ARRAY3D_DESCRIPTOR){extent.width, extent.height, extent.depth,
                                     format_of(channels), count, flags};
}

HCS_EXPORT cudaError_t cudaMalloc3DArray(void **array,
                                         const struct cudaChannelFormatDesc *channels,
                                         struct cudaExtent extent, unsigned flags) {
    if (channels == NULL) {
        return hcs_cudart_remember(cudaErrorInvalidValue);
    }
    CUDA_ARRAY3D_DESCRIPTOR descriptor = describe(channels, extent, flags);
    CALL(cuArray3DCreate(array, &descriptor));
}

HCS_EXPORT cudaError_t cudaMallocArray(void **array, const struct cudaChannelFormatDesc *channels,
                                       size_t width, size_t height, unsigned flags) {
    return cudaMalloc3DArray(array, channels, (struct cudaExtent){width, height, 0}, flags);
}

HCS_EXPORT cudaError_t cudaFreeArray(void *array) {
    if (array == NULL) {
        return cudaSuccess;
    }
    CALL(cuArrayDestroy(array));
}

HCS_EXPORT cudaError_t cudaMallocMipmappedArray(void **array,
                                                const struct cudaChannelFormatDesc *channels,
                                                struct cudaExtent extent, unsigned levels,
                                                unsigned flags) {
    if (channels == NULL) {
        return hcs_cudart_remember(cudaErrorInvalidValue);
    }
    CUDA_ARRAY3D_DESCRIPTOR descriptor = describe(channels, extent, flags);
    CALL(cuMipmappedArrayCreate(array, &descriptor, levels));
}

HCS_EXPORT cudaError_t cudaFreeMipmappedArray(void *array) {
    if (array == NULL) {
        return cudaSuccess;
    }
    CALL(cuMipmappedArrayDestroy(array));
}

HCS_EXPORT cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned flags) {
    CALL(cuMemHostAlloc(pointer, bytes, flags));
}
HCS_EXPORT cudaError_t cudaMallocHost(void **pointer, size_t bytes) {
    return cudaHostAlloc(pointer, bytes, 0);
}
HCS_EXPORT cudaError_t cudaFreeHost(void *pointer) { CALL(cuMemFreeHost(pointer)); }
HCS_EXPORT cudaError_t cudaHostRegister(void *pointer, size_t bytes, unsigned flags) {
    CALL(cuMemHostRegister(pointer, bytes, flags));
}
HCS_EXPORT cudaError_t cudaHostUnregister(void *pointer) { CALL(cuMemHostUnregister(pointer)); }

HCS_EXPORT cudaError_t cudaIpcGetMemHandle(CUipcMemHandle *handle, void *pointer) {
    CALL(cuIpcGetMemHandle(handle, ADDRESS(pointer)));
}
HCS_EXPORT cudaError_t cudaIpcOpenMemHandle(void **pointer, CUipcMemHandle handle,
                                            unsigned flags) {
    ALLOCATE(pointer, cuIpcOpenMemHandle(&address, handle, flags));
}
HCS_EXPORT cudaError_t cudaIpcCloseMemHandle(void *pointer) {
    CALL(cuIpcCloseMemHandle(ADDRESS(pointer)));
}

HCS_EXPORT cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    CALL(cuMemGetInfo(free_bytes, total_bytes));
}

/* In streams, and from pools. */
HCS_EXPORT cudaError_t cudaMallocAsync(void **pointer, size_t bytes, void *stream) {
    ALLOCATE(pointer, cuMemAllocAsync(&address, bytes, stream));
}
HCS_EXPORT cudaError_t cudaMallocAsync_ptsz(void **pointer, size_t bytes, void *stream) {
    ALLOCATE(pointer, cuMemAllocAsync_ptsz(&address, bytes, stream));
}
HCS_EXPORT cudaError_t cudaMallocFromPoolAsync(void **pointer, size_t bytes, void *pool,
                                               void *stream) {
    ALLOCATE(pointer, cuMemAllocFromPoolAsync(&address, bytes, pool, stream));
}
HCS_EXPORT cudaError_t cudaMallocFromPoolAsync_ptsz(void **pointer, size_t bytes, void *pool,
                                                    void *stream) {
    ALLOCATE(pointer, cuMemAllocFromPoolAsync_ptsz(&address, bytes, pool, stream));
}
HCS_EXPORT cudaError_t cudaFreeAsync(void *pointer, void *stream) {
    CALL(cuMemFreeAsync(ADDRESS(pointer), stream));
}
HCS_EXPORT cudaError_t cudaFreeAsync_ptsz(void *pointer, void *stream) {
    CALL(cuMemFreeAsync_ptsz(ADDRESS(pointer), stream));
}

HCS_EXPORT cudaError_t cudaDeviceGetDefaultMemPool(void **pool, int device) {
    CALL(cuDeviceGetDefaultMemPool(pool, device));
}
HCS_EXPORT cudaError_t cudaDeviceGetMemPool(void **pool, int device) {
    CALL(cuDeviceGetMemPool(pool, device));
}
HCS_EXPORT cudaError_t cudaDeviceSetMemPool(int device, void *pool) {
    CALL(cuDeviceSetMemPool(device, pool));
}
/* Laid out as the driver's. */
HCS_EXPORT cudaError_t cudaMemPoolCreate(void **pool, const CUmemPoolProps *properties) {
    CALL(cuMemPoolCreate(pool, properties));
}
HCS_EXPORT cudaError_t cudaMemPoolDestroy(void *pool) { CALL(cuMemPoolDestroy(pool)); }
HCS_EXPORT cudaError_t cudaMemPoolGetAttribute(void *pool, int attribute, void *value) {
    CALL(cuMemPoolGetAttribute(pool, attribute, value));
}
HCS_EXPORT cudaError_t cudaMemPoolSetAttribute(void *pool, int attribute, void *value) {
    CALL(cuMemPoolSetAttribute(pool, attribute, value));
}
HCS_EXPORT cudaError_t cudaMemPoolTrimTo(void *pool, size_t bytes) {
    CALL(cuMemPoolTrimTo(pool, bytes));
}
