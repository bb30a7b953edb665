/* The simulated libcnrt.so, on top of libcndrv.so as the real one; its codes are the driver's. */
#include <stddef.h>
#include <stdint.h>

#include "cndrv.h"

#define HCS_EXPORT __attribute__((visibility("default")))

enum { ATTRIBUTE_AVAILABLE_MEMORY = 0x312, ATTRIBUTE_TOTAL_MEMORY = 0x405 };

typedef int cnrtRet_t;
typedef struct {
    unsigned x, y, z;
} cnrtDim3_t;

cnrtRet_t cnrtGetDeviceCount(unsigned *count);
cnrtRet_t cnrtSetDevice(int ordinal);
cnrtRet_t cnrtGetDevice(int *ordinal);
cnrtRet_t cnrtDeviceReset(void);
cnrtRet_t cnrtMalloc(void **pointer, size_t bytes);
cnrtRet_t cnrtMallocConstant(void **pointer, size_t bytes);
cnrtRet_t cnrtMemAllocAsync(void **pointer, size_t bytes, void *queue);
cnrtRet_t cnrtMemAllocFromPoolAsync(void **pointer, size_t bytes, void *pool, void *queue);
cnrtRet_t cnrtMemPoolCreate(void **pool, const CNmemPoolProps *properties);
cnrtRet_t cnrtMemPoolDestroy(void *pool);
cnrtRet_t cnrtDeviceGetAttribute(int *value, int attribute, int ordinal);
cnrtRet_t cnrtDeviceGetMemPool(void **pool, int ordinal);
cnrtRet_t cnrtMemPoolGetAttribute(void *pool, int attribute, void *value);
cnrtRet_t cnrtMemPoolTrimTo(void *pool, size_t bytes);
cnrtRet_t cnrtFree(void *pointer);
cnrtRet_t cnrtMapMemHandle(void **pointer, void *handle, int flag);
cnrtRet_t cnrtMemFreeAsync(void *pointer, void *queue);
cnrtRet_t cnrtMemGetInfo(size_t *free_bytes, size_t *total_bytes);
cnrtRet_t cnrtSyncDevice(void);
cnrtRet_t cnrtQueueCreate(CNqueue *queue);
cnrtRet_t cnrtQueueDestroy(CNqueue queue);
cnrtRet_t cnrtQueueQuery(CNqueue queue);
cnrtRet_t cnrtQueueSync(CNqueue queue);
cnrtRet_t cnrtNotifierCreate(CNnotifier *notifier);
cnrtRet_t cnrtNotifierDestroy(CNnotifier notifier);
cnrtRet_t cnrtPlaceNotifier(CNnotifier notifier, CNqueue queue);
cnrtRet_t cnrtQueryNotifier(CNnotifier notifier);
cnrtRet_t cnrtWaitNotifier(CNnotifier notifier);
cnrtRet_t cnrtNotifierElapsedTime(CNnotifier start, CNnotifier end, float *milliseconds);
cnrtRet_t cnrtInvokeKernel(const void *kernel, cnrtDim3_t dim, int type, void **arguments,
                           size_t reserved, CNqueue queue);
cnrtRet_t cnrtQueueBeginCapture(CNqueue queue, int mode);
cnrtRet_t cnrtQueueEndCapture(CNqueue queue, void **topo);
cnrtRet_t cnrtTaskTopoInstantiate(void **entity, void *topo, void **error_node, char *log,
                                  size_t log_bytes);
cnrtRet_t cnrtTaskTopoEntityInvoke(void *entity, CNqueue queue);

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
    CNaddr address;
    CNresult result = cnMemAllocAsync(&address, bytes, queue);
    if (result == CN_SUCCESS) {
        *pointer = (void *)(uintptr_t)address;
    }
    return result;
}

HCS_EXPORT cnrtRet_t cnrtMemAllocFromPoolAsync(void **pointer, size_t bytes, void *pool,
                                               void *queue) {
    CNaddr address;
    CNresult result = cnMemAllocFromPoolAsync(&address, bytes, pool, queue);
    if (result == CN_SUCCESS) {
        *pointer = (void *)(uintptr_t)address;
    }
    return result;
}

HCS_EXPORT cnrtRet_t cnrtMemPoolCreate(void **pool, const CNmemPoolProps *properties) {
    return cnMemPoolCreate(pool, properties);
}

HCS_EXPORT cnrtRet_t cnrtMemPoolDestroy(void *pool) { return cnMemPoolDestroy(pool); }

/* In MiB. */
HCS_EXPORT cnrtRet_t cnrtDeviceGetAttribute(int *value, int attribute, int ordinal) {
    uint64_t bytes;
    cnInit(0);
    if (value == NULL ||
        (attribute != ATTRIBUTE_AVAILABLE_MEMORY && attribute != ATTRIBUTE_TOTAL_MEMORY)) {
        return CN_ERROR_INVALID_VALUE;
    }
    CNresult result = cnDeviceTotalMem(&bytes, (CNdev)ordinal);
    *value = result == CN_SUCCESS ? (int)(bytes >> 20) : *value;
    return result;
}

HCS_EXPORT cnrtRet_t cnrtDeviceGetMemPool(void **pool, int ordinal) {
    return cnDeviceGetMemPool(pool, (CNdev)ordinal);
}

HCS_EXPORT cnrtRet_t cnrtMemPoolGetAttribute(void *pool, int attribute, void *value) {
    return cnMemPoolGetAttribute(pool, attribute, value);
}

HCS_EXPORT cnrtRet_t cnrtMemPoolTrimTo(void *pool, size_t bytes) {
    return cnMemPoolTrimTo(pool, bytes);
}

HCS_EXPORT cnrtRet_t cnrtFree(void *pointer) {
    return pointer == NULL ? CN_SUCCESS : cnFree((CNaddr)(uintptr_t)pointer);
}

HCS_EXPORT cnrtRet_t cnrtMemFreeAsync(void *pointer, void *queue) {
    (void)queue;
    return cnrtFree(pointer);
}

HCS_EXPORT cnrtRet_t cnrtMapMemHandle(void **pointer, void *handle, int flag) {
    CNaddr address;
    CNresult result = cnIpcOpenMemHandle(&address, handle, (unsigned)flag);
    *pointer = (void *)(uintptr_t)address;
    return result;
}

HCS_EXPORT cnrtRet_t cnrtMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    return cnMemGetInfo(free_bytes, total_bytes);
}

/* Queues, notifiers and topos are the driver's. */
HCS_EXPORT cnrtRet_t cnrtSyncDevice(void) { return cnCtxSync(); }
HCS_EXPORT cnrtRet_t cnrtQueueCreate(CNqueue *queue) { return cnCreateQueue(queue, 0); }
HCS_EXPORT cnrtRet_t cnrtQueueDestroy(CNqueue queue) { return cnDestroyQueue(queue); }
HCS_EXPORT cnrtRet_t cnrtQueueQuery(CNqueue queue) { return cnQueryQueue(queue); }
HCS_EXPORT cnrtRet_t cnrtQueueSync(CNqueue queue) { return cnQueueSync(queue); }

HCS_EXPORT cnrtRet_t cnrtNotifierCreate(CNnotifier *notifier) {
    return cnCreateNotifier(notifier, 0);
}
HCS_EXPORT cnrtRet_t cnrtNotifierDestroy(CNnotifier notifier) {
    return cnDestroyNotifier(notifier);
}
HCS_EXPORT cnrtRet_t cnrtPlaceNotifier(CNnotifier notifier, CNqueue queue) {
    return cnPlaceNotifier(notifier, queue);
}
HCS_EXPORT cnrtRet_t cnrtQueryNotifier(CNnotifier notifier) { return cnQueryNotifier(notifier); }
HCS_EXPORT cnrtRet_t cnrtWaitNotifier(CNnotifier notifier) { return cnWaitNotifier(notifier); }
HCS_EXPORT cnrtRet_t cnrtNotifierElapsedTime(CNnotifier start, CNnotifier end,
                                             float *milliseconds) {
    return cnNotifierElapsedTime(milliseconds, start, end);
}

HCS_EXPORT cnrtRet_t cnrtInvokeKernel(const void *kernel, cnrtDim3_t dim, int type,
                                      void **arguments, size_t reserved, CNqueue queue) {
    return cnInvokeKernel((void *)(uintptr_t)kernel, dim.x, dim.y, dim.z, type,
                          (unsigned)reserved, queue, arguments, NULL);
}

HCS_EXPORT cnrtRet_t cnrtQueueBeginCapture(CNqueue queue, int mode) {
    return cnQueueBeginCapture(queue, mode);
}
HCS_EXPORT cnrtRet_t cnrtQueueEndCapture(CNqueue queue, void **topo) {
    return cnQueueEndCapture(queue, topo);
}
HCS_EXPORT cnrtRet_t cnrtTaskTopoInstantiate(void **entity, void *topo, void **error_node,
                                             char *log, size_t log_bytes) {
    return cnTaskTopoInstantiate(entity, topo, error_node, log, log_bytes);
}
HCS_EXPORT cnrtRet_t cnrtTaskTopoEntityInvoke(void *entity, CNqueue queue) {
    return cnTaskTopoEntityInvoke(entity, queue);
}
