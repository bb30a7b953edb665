/* The further forms of what the simulated libamdhip64.so launches, waits for and makes executable:
 * each is one of hip_work.c's in another dress. In a _spt form NULL is the thread's own stream. */
#include "card_work.h"
#include "graph_memory.h"
#include "hip.h"

static void *own(void *stream) { return stream == NULL ? HCS_SIM_STREAM_PER_THREAD : stream; }

HCS_EXPORT hipError_t hipStreamSynchronize_spt(void *stream) {
    return hipStreamSynchronize(own(stream));
}

HCS_EXPORT hipError_t hipEventSynchronize(void *event) { return hcs_sim_event_wait(event); }

HCS_EXPORT hipError_t hipLaunchKernel_spt(const void *function, struct dim3 grid,
                                          struct dim3 block, void **parameters,
                                          size_t shared_bytes, void *stream) {
    return hipLaunchKernel(function, grid, block, parameters, shared_bytes, own(stream));
}

HCS_EXPORT hipError_t hipLaunchCooperativeKernel(const void *function, struct dim3 grid,
                                                 struct dim3 block, void **parameters,
                                                 unsigned shared_bytes, void *stream) {
    return hipLaunchKernel(function, grid, block, parameters, shared_bytes, stream);
}

HCS_EXPORT hipError_t hipLaunchCooperativeKernel_spt(const void *function, struct dim3 grid,
                                                     struct dim3 block, void **parameters,
                                                     unsigned shared_bytes, void *stream) {
    return hipLaunchKernel(function, grid, block, parameters, shared_bytes, own(stream));
}

HCS_EXPORT hipError_t hipModuleLaunchCooperativeKernel(void *function, unsigned grid_x,
                                                       unsigned grid_y, unsigned grid_z,
                                                       unsigned block_x, unsigned block_y,
                                                       unsigned block_z, unsigned shared_bytes,
                                                       void *stream, void **parameters) {
    return hipModuleLaunchKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z,
                                 shared_bytes, stream, parameters, NULL);
}

HCS_EXPORT hipError_t hipLaunchKernelExC(const struct hipLaunchConfig_t *config,
                                         const void *function, void **parameters) {
    if (config == NULL) {
        return hipErrorInvalidValue;
    }
    return hipLaunchKernel(function, config->gridDim, config->blockDim, parameters,
                           config->dynamicSmemBytes, config->stream);
}

HCS_EXPORT hipError_t hipDrvLaunchKernelEx(const struct HIP_LAUNCH_CONFIG *config, void *function,
                                           void **parameters, void **extra) {
    if (config == NULL) {
        return hipErrorInvalidValue;
    }
    return hipModuleLaunchKernel(function, config->gridDimX, config->gridDimY, config->gridDimZ,
                                 config->blockDimX, config->blockDimY, config->blockDimZ,
                                 config->sharedMemBytes, config->hStream, parameters, extra);
}

/* Events around the kernel, if there are any. */
static hipError_t between(void *start, void *stop, void *stream, const void *function,
                          struct dim3 grid, struct dim3 block) {
    hipError_t result = start != NULL ? hipEventRecord(start, stream) : hipSuccess;
    if (result == hipSuccess) {
        result = hipLaunchKernel(function, grid, block, NULL, 0, stream);
    }
    return result == hipSuccess && stop != NULL ? hipEventRecord(stop, stream) : result;
}

HCS_EXPORT hipError_t hipExtLaunchKernel(const void *function, struct dim3 grid,
                                         struct dim3 block, void **parameters,
                                         size_t shared_bytes, void *stream, void *start,
                                         void *stop, int flags) {
    (void)parameters, (void)shared_bytes, (void)flags;
    return between(start, stop, stream, function, grid, block);
}

/* Takes the threads of all blocks instead of the blocks. */
HCS_EXPORT hipError_t hipExtModuleLaunchKernel(void *function, uint32_t work_x, uint32_t work_y,
                                               uint32_t work_z, uint32_t block_x,
                                               uint32_t block_y, uint32_t block_z,
                                               size_t shared_bytes, void *stream,
                                               void **parameters, void **extra, void *start,
                                               void *stop, uint32_t flags) {
    (void)shared_bytes, (void)parameters, (void)extra, (void)flags;
    if (block_x == 0 || block_y == 0 || block_z == 0) {
        return hipErrorInvalidValue;
    }
    struct dim3 grid = {work_x / block_x, work_y / block_y, work_z / block_z};
    return between(start, stop, stream, function, grid, (struct dim3){block_x, block_y, block_z});
}

HCS_EXPORT hipError_t hipHccModuleLaunchKernel(void *function, uint32_t work_x, uint32_t work_y,
                                               uint32_t work_z, uint32_t block_x,
                                               uint32_t block_y, uint32_t block_z,
                                               size_t shared_bytes, void *stream,
                                               void **parameters, void **extra, void *start,
                                               void *stop) {
    return hipExtModuleLaunchKernel(function, work_x, work_y, work_z, block_x, block_y, block_z,
                                    shared_bytes, stream, parameters, extra, start, stop, 0);
}

/* Both by the names that C++ gives them, which are all that there was before ROCm 6. */
#define EXT_MANGLED                                                                                \
    _Z24hipExtModuleLaunchKernelP18ihipModuleSymbol_tjjjjjjmP12ihipStream_tPPvS4_P11ihipEvent_tS6_j
#define HCC_MANGLED                                                                                \
    _Z24hipHccModuleLaunchKernelP18ihipModuleSymbol_tjjjjjjmP12ihipStream_tPPvS4_P11ihipEvent_tS6_
__typeof__(hipExtModuleLaunchKernel) EXT_MANGLED;
__typeof__(hipHccModuleLaunchKernel) HCC_MANGLED;

HCS_EXPORT hipError_t EXT_MANGLED(void *function, uint32_t work_x, uint32_t work_y,
                                  uint32_t work_z, uint32_t block_x, uint32_t block_y,
                                  uint32_t block_z, size_t shared_bytes, void *stream,
                                  void **parameters, void **extra, void *start, void *stop,
                                  uint32_t flags) {
    return hipExtModuleLaunchKernel(function, work_x, work_y, work_z, block_x, block_y, block_z,
                                    shared_bytes, stream, parameters, extra, start, stop, flags);
}

HCS_EXPORT hipError_t HCC_MANGLED(void *function, uint32_t work_x, uint32_t work_y,
                                  uint32_t work_z, uint32_t block_x, uint32_t block_y,
                                  uint32_t block_z, size_t shared_bytes, void *stream,
                                  void **parameters, void **extra, void *start, void *stop) {
    return hipExtModuleLaunchKernel(function, work_x, work_y, work_z, block_x, block_y, block_z,
                                    shared_bytes, stream, parameters, extra, start, stop, 0);
}

/* On several cards at once, each in a stream of its own. */
HCS_EXPORT hipError_t hipExtLaunchMultiKernelMultiDevice(const struct hipLaunchParams *launches,
                                                         int count, unsigned flags) {
    (void)flags;
    hipError_t result = launches != NULL && count > 0 ? hipSuccess : hipErrorInvalidValue;
    for (int i = 0; result == hipSuccess && i < count; i++) {
        result = hipLaunchKernel(launches[i].func, launches[i].gridDim, launches[i].blockDim,
                                 launches[i].args, launches[i].sharedMem, launches[i].stream);
    }
    return result;
}

HCS_EXPORT hipError_t hipLaunchCooperativeKernelMultiDevice(const struct hipLaunchParams *launches,
                                                            int count, unsigned flags) {
    return hipExtLaunchMultiKernelMultiDevice(launches, count, flags);
}

HCS_EXPORT hipError_t
hipModuleLaunchCooperativeKernelMultiDevice(const struct hipFunctionLaunchParams *launches,
                                            unsigned count, unsigned flags) {
    (void)flags;
    hipError_t result = launches != NULL && count > 0 ? hipSuccess : hipErrorInvalidValue;
    for (unsigned i = 0; result == hipSuccess && i < count; i++) {
        const struct hipFunctionLaunchParams *one = &launches[i];
        result = hipModuleLaunchKernel(one->function, one->gridDimX, one->gridDimY, one->gridDimZ,
                                       one->blockDimX, one->blockDimY, one->blockDimZ,
                                       one->sharedMemBytes, one->hStream, one->kernelParams, NULL);
    }
    return result;
}

HCS_EXPORT hipError_t hipGraphInstantiate(void **executable, void *graph, void **node, char *text,
                                          size_t text_bytes) {
    (void)node, (void)text, (void)text_bytes;
    return hipGraphInstantiateWithFlags(executable, graph, 0);
}

HCS_EXPORT hipError_t hipGraphInstantiateWithParams(void **executable, void *graph,
                                                    struct hipGraphInstantiateParams *parameters) {
    if (parameters == NULL) {
        return hipErrorInvalidValue;
    }
    parameters->result_out = 0;
    return hipGraphInstantiateWithFlags(executable, graph, parameters->flags);
}

HCS_EXPORT hipError_t hipGraphUpload(void *executable, void *stream) {
    const struct hcs_sim_device *card = hcs_hip_card();
    return card != NULL ? hcs_sim_graph_map(executable, stream) : hipErrorInvalidDevice;
}

HCS_EXPORT hipError_t hipGraphLaunch_spt(void *executable, void *stream) {
    return hipGraphLaunch(executable, own(stream));
}
