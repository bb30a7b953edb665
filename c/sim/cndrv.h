/* The part of Cambricon's driver API that the simulation has; names and numbers from cn_api.h. */
#ifndef HCS_SIM_CNDRV_H
#define HCS_SIM_CNDRV_H

#include <stddef.h>
#include <stdint.h>

typedef int CNresult;
typedef uint64_t CNdev;
typedef uint64_t CNaddr;
typedef struct CNctx_st *CNcontext;
typedef struct {
    int type, requestedHandleTypes;
    struct { int type; uint32_t id; } location;
    struct { unsigned char compressionType, securityType; } allocFlags;
} CNmemAllocationProp;
_Static_assert(sizeof(CNmemAllocationProp) == 20, "CNmemAllocationProp");
typedef struct { /* and more that says nothing here */
    int type, requestedHandleTypes;
    struct { int type; uint32_t id; } location;
    size_t maxSize;
} CNmemPoolProps;
typedef void *CNqueue;
typedef void *CNnotifier;

enum {
    CN_SUCCESS = 0,
    CN_ERROR_NOT_READY = 1,
    CN_ERROR_NOT_INITIALIZED = 100002,
    CN_ERROR_INVALID_DEVICE = 100005,
    CN_ERROR_INVALID_VALUE = 100006,
    CN_ERROR_SYSTEM_OUT_OF_MEMORY = 100010,
    CN_ERROR_NOT_FOUND = 100021,
    CN_QUEUE_ERROR_INVALID = 100060,
    CN_NOTIFIER_ERROR_INVALID = 100080,
    CN_MEMORY_ERROR_OUT_OF_MEMORY = 100100,
    CN_ERROR_QUEUE_CAPTURE_UNSUPPORTED = 100360,
    CN_ERROR_QUEUE_CAPTURE_INVALIDATED = 100361,
};

#define CN_QUEUE_TYPE_PER_THREAD ((CNqueue)1)
#define CN_QUEUE_TYPE_LEGACY ((CNqueue)2)

typedef struct {
    unsigned dimx, dimy, dimz;
    int c; /* how many clusters work together */
    unsigned reserved;
    CNqueue hqueue;
    void *attrs;
    unsigned numAttrs;
} CNinvokeConfig;
_Static_assert(sizeof(CNinvokeConfig) == 48, "CNinvokeConfig");

CNresult cnInit(unsigned flags);
CNresult cnDeviceGetCount(int *count);
CNresult cnDeviceGet(CNdev *device, int ordinal);
CNresult cnDeviceTotalMem(uint64_t *bytes, CNdev device);
CNresult cnSharedContextAcquire(CNcontext *context, CNdev device);
CNresult cnSharedContextReset(CNdev device);
CNresult cnCtxSetCurrent(CNcontext context);
CNresult cnCtxGetCurrent(CNcontext *context);
CNresult cnCtxGetDevice(CNdev *device);
CNresult cnMalloc(CNaddr *address, uint64_t bytes);
CNresult cnZmalloc(CNaddr *address, uint64_t bytes);
CNresult cnMallocConstant(CNaddr *address, uint64_t bytes);
CNresult cnMallocPeerAble(CNaddr *address, uint64_t bytes);
CNresult cnMallocNode(CNaddr *address, uint64_t bytes, int node);
CNresult cnMallocSecurity(CNaddr *address, uint64_t bytes);
CNresult cnZmallocNode(CNaddr *address, uint64_t bytes, int node);
CNresult cnMallocNodeConstant(CNaddr *address, uint64_t bytes, int node);
CNresult cnMallocFrameBuffer(CNaddr *address, uint64_t bytes, int node);
CNresult cnIpcOpenMemHandle(CNaddr *address, void *handle, unsigned flag);
CNresult cnMemMerge(CNaddr *merged, unsigned count, const CNaddr *addresses);
CNresult cnFree(CNaddr address);
CNresult cnDeviceGetMemPool(void **pool, CNdev device);
CNresult cnMemPoolCreate(void **pool, const CNmemPoolProps *properties);
CNresult cnMemPoolDestroy(void *pool);
CNresult cnMemPoolGetAttribute(void *pool, int attribute, void *value);
CNresult cnMemPoolTrimTo(void *pool, size_t bytes);
CNresult cnMemAllocAsync(CNaddr *address, uint64_t bytes, CNqueue queue);
CNresult cnMemAllocFromPoolAsync(CNaddr *address, uint64_t bytes, void *pool, CNqueue queue);
CNresult cnMemFreeAsync(CNaddr address, CNqueue queue);
CNresult cnMemAddressReserve(CNaddr *address, size_t bytes, size_t alignment, CNaddr wanted,
                             uint64_t flags);
CNresult cnMemCreate(uint64_t *handle, size_t bytes, const CNmemAllocationProp *properties,
                     uint64_t flags);
CNresult cnMemMap(CNaddr address, size_t bytes, size_t offset, uint64_t handle, uint64_t flags);
CNresult cnMemUnmap(CNaddr address, size_t bytes);
CNresult cnMemRetainAllocationHandle(uint64_t *handle, void *address);
CNresult cnMemRelease(uint64_t handle);
CNresult cnMemGetInfo(uint64_t *free_bytes, uint64_t *total_bytes);
CNresult cnMemGetNodeInfo(uint64_t *free_bytes, uint64_t *total_bytes, int node);
CNresult cnGetExportFunction(const char *name, const void **function);

CNresult cnCreateQueue(CNqueue *queue, unsigned flags);
CNresult cnDestroyQueue(CNqueue queue);
CNresult cnQueueGetContext(CNqueue queue, CNcontext *context);
CNresult cnQueryQueue(CNqueue queue);
CNresult cnQueueSync(CNqueue queue);
CNresult cnCtxSync(void);
CNresult cnCreateNotifier(CNnotifier *notifier, unsigned flags);
CNresult cnDestroyNotifier(CNnotifier notifier);
CNresult cnPlaceNotifier(CNnotifier notifier, CNqueue queue);
CNresult cnQueryNotifier(CNnotifier notifier);
CNresult cnWaitNotifier(CNnotifier notifier);
CNresult cnNotifierElapsedTime(float *milliseconds, CNnotifier start, CNnotifier end);
CNresult cnInvokeKernel(void *kernel, unsigned x, unsigned y, unsigned z, int class,
                        unsigned reserved, CNqueue queue, void **parameters, void **extra);
CNresult cnInvokeKernelEx(const CNinvokeConfig *config, void *kernel, void **parameters,
                          void **extra);
CNresult cnQueueBeginCapture(CNqueue queue, int mode);
CNresult cnQueueEndCapture(CNqueue queue, void **topo);
CNresult cnQueueIsCapturing(CNqueue queue, int *status);
CNresult cnThreadExchangeQueueCaptureMode(int *mode);
CNresult cnTaskTopoInstantiate(void **entity, void *topo, void **error_node, char *log,
                               size_t log_bytes);
CNresult cnTaskTopoEntityInvoke(void *entity, CNqueue queue);

#endif
