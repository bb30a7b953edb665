/* The simulated libmusart.so, on top of libmusa.so; where they meet, the numbers are the same. */
#include <stddef.h>
#include <stdint.h>

#include "musa.h"

#define HCS_EXPORT __attribute__((visibility("default")))
#define PITCH_BYTES 512

typedef int musaError_t;

musaError_t musaGetDeviceCount(int *count);
musaError_t musaSetDevice(int device);
musaError_t musaGetDevice(int *device);
musaError_t musaDeviceReset(void);
musaError_t musaMalloc(void **pointer, size_t bytes);
musaError_t musaMallocManaged(void **pointer, size_t bytes, unsigned flags);
musaError_t musaMallocPitch(void **pointer, size_t *pitch, size_t width, size_t height);
musaError_t musaMallocAsync(void **pointer, size_t bytes, void *stream);
musaError_t musaFree(void *pointer);
musaError_t musaFreeAsync(void *pointer, void *stream);
musaError_t musaMemGetInfo(size_t *free_bytes, size_t *total_bytes);

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

HCS_EXPORT musaError_t musaMallocAsync(void **pointer, size_t bytes, void *stream) {
    (void)stream;
    return musaMalloc(pointer, bytes);
}

HCS_EXPORT musaError_t musaFree(void *pointer) {
    return muMemFree_v2((uint64_t)(uintptr_t)pointer);
}

HCS_EXPORT musaError_t musaFreeAsync(void *pointer, void *stream) {
    (void)stream;
    return musaFree(pointer);
}

HCS_EXPORT musaError_t musaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    musaError_t error = enter();
    return error == MUSA_SUCCESS ? muMemGetInfo_v2(free_bytes, total_bytes) : error;
}
