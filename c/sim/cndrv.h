/* The part of Cambricon's driver API that the simulation has; names and numbers from cn_api.h. */
#ifndef HCS_SIM_CNDRV_H
#define HCS_SIM_CNDRV_H

#include <stdint.h>

typedef int CNresult;
typedef uint64_t CNdev;
typedef uint64_t CNaddr;
typedef struct CNctx_st *CNcontext;

enum {
    CN_SUCCESS = 0,
    CN_ERROR_NOT_INITIALIZED = 100002,
    CN_ERROR_INVALID_DEVICE = 100005,
    CN_ERROR_INVALID_VALUE = 100006,
    CN_MEMORY_ERROR_OUT_OF_MEMORY = 100100,
    CN_ERROR_NOT_FOUND = 100021,
};

CNresult cnInit(unsigned flags);
CNresult cnDeviceGetCount(int *count);
CNresult cnDeviceGet(CNdev *device, int ordinal);
CNresult cnDeviceTotalMem(uint64_t *bytes, CNdev device);
CNresult cnSharedContextAcquire(CNcontext *context, CNdev device);
CNresult cnSharedContextReset(CNdev device);
CNresult cnCtxSetCurrent(CNcontext context);
CNresult cnCtxGetDevice(CNdev *device);
CNresult cnMalloc(CNaddr *address, uint64_t bytes);
CNresult cnZmalloc(CNaddr *address, uint64_t bytes);
CNresult cnMallocConstant(CNaddr *address, uint64_t bytes);
CNresult cnMallocPeerAble(CNaddr *address, uint64_t bytes);
CNresult cnMallocNode(CNaddr *address, uint64_t bytes, int node);
CNresult cnFree(CNaddr address);
CNresult cnMemGetInfo(uint64_t *free_bytes, uint64_t *total_bytes);
CNresult cnGetExportFunction(const char *name, const void **function);

#endif
