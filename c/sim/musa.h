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

enum {
    MUSA_SUCCESS = 0,
    MUSA_ERROR_INVALID_VALUE = 1,
    MUSA_ERROR_OUT_OF_MEMORY = 2,
    MUSA_ERROR_NOT_INITIALIZED = 3,
    MUSA_ERROR_INVALID_DEVICE = 101,
    MUSA_ERROR_INVALID_CONTEXT = 201,
};

MUresult muInit(unsigned flags);
MUresult muDeviceGetCount(int *count);
MUresult muDeviceTotalMem_v2(size_t *bytes, int device);
MUresult muDevicePrimaryCtxRetain(MUcontext *context, int device);
MUresult muDevicePrimaryCtxReset_v2(int device);
MUresult muCtxSetCurrent(MUcontext context);
MUresult muCtxGetDevice(int *device);
MUresult muMemAlloc_v2(uint64_t *pointer, size_t bytes);
MUresult muMemAllocManaged(uint64_t *pointer, size_t bytes, unsigned flags);
MUresult muMemFree_v2(uint64_t pointer);
MUresult muMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes);
MUresult muMemAddressReserve(uint64_t *address, size_t bytes, size_t alignment, uint64_t wanted,
                             uint64_t flags);
MUresult muMemCreate(uint64_t *handle, size_t bytes, const struct memory_location *location,
                     uint64_t flags);
MUresult muMemMap(uint64_t address, size_t bytes, size_t offset, uint64_t handle, uint64_t flags);
MUresult muMemUnmap(uint64_t address, size_t bytes);
MUresult muMemRelease(uint64_t handle);

#endif
