/* What the parts of the simulated libamdhip64.so share. */
#ifndef HCS_SIM_HIP_H
#define HCS_SIM_HIP_H

#include <stddef.h>
#include <stdint.h>

#include "runtime_cards.h"

typedef int hipError_t;
enum {
    hipSuccess = 0,
    hipErrorInvalidValue = 1,
    hipErrorOutOfMemory = 2,
    hipErrorInvalidDevice = 101,
    hipErrorNotFound = 500,
};

struct dim3 {
    uint32_t x, y, z;
};

struct hcs_sim_allocation_node; /* graph_memory.h */

hipError_t hipDeviceGetDefaultMemPool(void **pool, int device);
hipError_t hipDeviceGetMemPool(void **pool, int device);
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
hipError_t hipDeviceSynchronize(void);
hipError_t hipEventCreateWithFlags(void **event, unsigned flags);
hipError_t hipEventDestroy(void *event);
hipError_t hipEventRecord(void *event, void *stream);
hipError_t hipEventQuery(void *event);
hipError_t hipEventElapsedTime(float *milliseconds, void *start, void *end);
hipError_t hipLaunchKernel(const void *function, struct dim3 grid, struct dim3 block,
                           void **parameters, size_t shared_bytes, void *stream);
hipError_t hipModuleLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                 unsigned block_x, unsigned block_y, unsigned block_z,
                                 unsigned shared_bytes, void *stream, void **parameters,
                                 void **extra);
hipError_t hipStreamBeginCapture(void *stream, int mode);
hipError_t hipStreamEndCapture(void *stream, void **graph);
hipError_t hipStreamIsCapturing(void *stream, int *status);
hipError_t hipThreadExchangeStreamCaptureMode(int *mode);
hipError_t hipGraphInstantiateWithFlags(void **executable, void *graph, uint64_t flags);
hipError_t hipGraphLaunch(void *executable, void *stream);

/* The thread's card. */
const struct hcs_sim_device *hcs_hip_card(void);

#endif
