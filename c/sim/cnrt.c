/* The simulated libcnrt.so, on top of libcndrv.so as the real one; its codes are the driver's. */
#include <stddef.h>
#include <stdint.h>

#include "cndrv.h"

#define HCS_EXPORT __attribute__((visibility("default")))

typedef int cnrtRet_t;

cnrtRet_t cnrtGetDeviceCount(unsigned *count);
cnrtRet_t cnrtSetDevice(int ordinal);
cnrtRet_t cnrtGetDevice(int *ordinal);
cnrtRet_t cnrtDeviceReset(void);
cnrtRet_t cnrtMalloc(void **pointer, size_t bytes);
cnrtRet_t cnrtMallocConstant(void **pointer, size_t bytes);
cnrtRet_t cnrtMemAllocAsync(void **pointer, size_t bytes, void *queue);
cnrtRet_t cnrtFree(void *pointer);
cnrtRet_t cnrtMemFreeAsync(void *pointer, void *queue);
cnrtRet_t cnrtMemGetInfo(size_t *free_bytes, size_t *total_bytes);

HCS_EXPORT cnrtRet_t cnrtGetDeviceCount(unsigned *count) {
    cnInit(0);
    return cnDeviceGetCount((int *)count);
}

HCS_EXPORT cnrtRet_t cnrtSetDevice(int ordinal) {
    CNcontext context;
    CNdev device;
    cnInit(0);
    CNresult result = cnDeviceGet(&device, ordinal);
    result = result == CN_SUCCESS ? cnSharedContextAcquire(&context, device) : result;
    return result == CN_SUCCESS ? cnCtxSetCurrent(context) : result;
}

HCS_EXPORT cnrtRet_t cnrtGetDevice(int *ordinal) {
    CNdev device;
    CNresult result = cnCtxGetDevice(&device);
    *ordinal = (int)device;
    return result;
}

HCS_EXPORT cnrtRet_t cnrtDeviceReset(void) {
    CNdev device;
    CNresult result = cnCtxGetDevice(&device);
    return result == CN_SUCCESS ? cnSharedContextReset(device) : result;
}

HCS_EXPORT cnrtRet_t cnrtMalloc(void **pointer, size_t bytes) {
    CNaddr address;
    CNresult result = cnMalloc(&address, bytes);
    if (result == CN_SUCCESS) {
        *pointer = (void *)(uintptr_t)address;
    }
    return result;
}

HCS_EXPORT cnrtRet_t cnrtMallocConstant(void **pointer, size_t bytes) {
    return cnrtMalloc(pointer, bytes);
}

HCS_EXPORT cnrtRet_t cnrtMemAllocAsync(void **pointer, size_t bytes, void *queue) {
    (void)queue;
    return cnrtMalloc(pointer, bytes);
}

HCS_EXPORT cnrtRet_t cnrtFree(void *pointer) {
    return pointer == NULL ? CN_SUCCESS : cnFree((CNaddr)(uintptr_t)pointer);
}

HCS_EXPORT cnrtRet_t cnrtMemFreeAsync(void *pointer, void *queue) {
    (void)queue;
    return cnrtFree(pointer);
}

HCS_EXPORT cnrtRet_t cnrtMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    return cnMemGetInfo(free_bytes, total_bytes);
}
