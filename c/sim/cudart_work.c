/* What the simulated libcudart.so.12 has of streams, events, launches and graphs: the driver's. A
 * kernel's address on the host stands for the driver's handle of it. */
#include "cudart.h"
#include "graph_memory.h"

#define CALL HCS_CUDART_CALL
#define HANDLE(FUNCTION) ((void *)(uintptr_t)(FUNCTION))
#define SIZES(GRID, BLOCK) (GRID).x, (GRID).y, (GRID).z, (BLOCK).x, (BLOCK).y, (BLOCK).z

struct cudaLaunchConfig_st {
    struct dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    void *stream, *attrs;
    unsigned numAttrs;
};
_Static_assert(sizeof(struct cudaLaunchConfig_st) == 56, "cudaLaunchConfig_t");

cudaError_t cudaStreamCreate(void **stream);
cudaError_t cudaStreamCreateWithFlags(void **stream, unsigned flags);
cudaError_t cudaStreamDestroy(void *stream);
cudaError_t cudaStreamQuery(void *stream);
cudaError_t cudaStreamSynchronize(void *stream);
cudaError_t cudaStreamSynchronize_ptsz(void *stream);
cudaError_t cudaStreamBeginCapture(void *stream, int mode);
cudaError_t cudaStreamEndCapture(void *stream, void **graph);
cudaError_t cudaStreamIsCapturing(void *stream, int *status);
cudaError_t cudaThreadExchangeStreamCaptureMode(int *mode);
cudaError_t cudaEventCreate(void **event);
cudaError_t cudaEventCreateWithFlags(void **event, unsigned flags);
cudaError_t cudaEventDestroy(void *event);
cudaError_t cudaEventRecord(void *event, void *stream);
cudaError_t cudaEventQuery(void *event);
cudaError_t cudaEventSynchronize(void *event);
cudaError_t cudaEventElapsedTime(float *milliseconds, void *start, void *end);
cudaError_t cudaLaunchKernel(const void *function, struct dim3 grid, struct dim3 block,
                             void **parameters, size_t shared_bytes, void *stream);
cudaError_t cudaLaunchKernel_ptsz(const void *function, struct dim3 grid, struct dim3 block,
                                  void **parameters, size_t shared_bytes, void *stream);
cudaError_t cudaLaunchKernelExC(const struct cudaLaunchConfig_st *config, const void *function,
                                void **parameters);
cudaError_t cudaLaunchKernelExC_ptsz(const struct cudaLaunchConfig_st *config,
                                     const void *function, void **parameters);
cudaError_t cudaLaunchCooperativeKernel(const void *function, struct dim3 grid, struct dim3 block,
                                        void **parameters, size_t shared_bytes, void *stream);
cudaError_t cudaLaunchCooperativeKernel_ptsz(const void *function, struct dim3 grid,
                                             struct dim3 block, void **parameters,
                                             size_t shared_bytes, void *stream);
cudaError_t cudaGraphCreate(void **graph, unsigned flags);
cudaError_t cudaGraphAddMemAllocNode(void **node, void *graph, const void *const *behind,
                                     size_t count, struct hcs_sim_allocation_node *parameters);
cudaError_t cudaGraphAddMemFreeNode(void **node, void *graph, const void *const *behind,
                                    size_t count, void *pointer);
cudaError_t cudaGraphInstantiate(void **executable, void *graph, unsigned long long flags);
cudaError_t cudaGraphInstantiateWithFlags(void **executable, void *graph,
                                          unsigned long long flags);
cudaError_t cudaGraphExecDestroy(void *executable);
cudaError_t cudaGraphUpload(void *executable, void *stream);
cudaError_t cudaGraphUpload_ptsz(void *executable, void *stream);
cudaError_t cudaGraphLaunch(void *executable, void *stream);
cudaError_t cudaGraphLaunch_ptsz(void *executable, void *stream);
cudaError_t cudaDeviceGetGraphMemAttribute(int device, int attribute, void *value);
cudaError_t cudaDeviceGraphMemTrim(int device);

HCS_EXPORT cudaError_t cudaStreamCreateWithFlags(void **stream, unsigned flags) {
    CALL(cuStreamCreate(stream, flags));
}
HCS_EXPORT cudaError_t cudaStreamCreate(void **stream) {
    return cudaStreamCreateWithFlags(stream, 0);
}
HCS_EXPORT cudaError_t cudaStreamDestroy(void *stream) { CALL(cuStreamDestroy(stream)); }
HCS_EXPORT cudaError_t cudaStreamQuery(void *stream) { CALL(cuStreamQuery(stream)); }
HCS_EXPORT cudaError_t cudaStreamSynchronize(void *stream) { CALL(cuStreamSynchronize(stream)); }
HCS_EXPORT cudaError_t cudaStreamSynchronize_ptsz(void *stream) {
    CALL(cuStreamSynchronize_ptsz(stream));
}
HCS_EXPORT cudaError_t cudaStreamBeginCapture(void *stream, int mode) {
    CALL(cuStreamBeginCapture(stream, mode));
}
HCS_EXPORT cudaError_t cudaStreamEndCapture(void *stream, void **graph) {
    CALL(cuStreamEndCapture(stream, graph));
}
HCS_EXPORT cudaError_t cudaStreamIsCapturing(void *stream, int *status) {
    CALL(cuStreamIsCapturing(stream, status));
}
HCS_EXPORT cudaError_t cudaThreadExchangeStreamCaptureMode(int *mode) {
    CALL(cuThreadExchangeStreamCaptureMode(mode));
}

HCS_EXPORT cudaError_t cudaEventCreateWithFlags(void **event, unsigned flags) {
    CALL(cuEventCreate(event, flags));
}
HCS_EXPORT cudaError_t cudaEventCreate(void **event) { return cudaEventCreateWithFlags(event, 0); }
HCS_EXPORT cudaError_t cudaEventDestroy(void *event) { CALL(cuEventDestroy(event)); }
HCS_EXPORT cudaError_t cudaEventRecord(void *event, void *stream) {
    CALL(cuEventRecord(event, stream));
}
HCS_EXPORT cudaError_t cudaEventQuery(void *event) { CALL(cuEventQuery(event)); }
HCS_EXPORT cudaError_t cudaEventSynchronize(void *event) { CALL(cuEventSynchronize(event)); }
HCS_EXPORT cudaError_t cudaEventElapsedTime(float *milliseconds, void *start, void *end) {
    CALL(cuEventElapsedTime(milliseconds, start, end));
}

HCS_EXPORT cudaError_t cudaLaunchKernel(const void *function, struct dim3 grid, struct dim3 block,
                                        void **parameters, size_t shared_bytes, void *stream) {
    CALL(cuLaunchKernel(HANDLE(function), SIZES(grid, block), (unsigned)shared_bytes, stream,
                        parameters, NULL));
}
HCS_EXPORT cudaError_t cudaLaunchKernel_ptsz(const void *function, struct dim3 grid,
                                             struct dim3 block, void **parameters,
                                             size_t shared_bytes, void *stream) {
    CALL(cuLaunchKernel_ptsz(HANDLE(function), SIZES(grid, block), (unsigned)shared_bytes, stream,
                             parameters, NULL));
}

/* The same in the driver's order. */
static CUlaunchConfig config_of(const struct cudaLaunchConfig_st *config) {
    return (CUlaunchConfig){SIZES(config->gridDim, config->blockDim),
                            (unsigned)config->dynamicSmemBytes, config->stream, config->attrs,
                            config->numAttrs};
}
HCS_EXPORT cudaError_t cudaLaunchKernelExC(const struct cudaLaunchConfig_st *config,
                                           const void *function, void **parameters) {
    CUlaunchConfig drivers = config_of(config);
    CALL(cuLaunchKernelEx(&drivers, HANDLE(function), parameters, NULL));
}
HCS_EXPORT cudaError_t cudaLaunchKernelExC_ptsz(const struct cudaLaunchConfig_st *config,
                                                const void *function, void **parameters) {
    CUlaunchConfig drivers = config_of(config);
    CALL(cuLaunchKernelEx_ptsz(&drivers, HANDLE(function), parameters, NULL));
}

HCS_EXPORT cudaError_t cudaLaunchCooperativeKernel(const void *function, struct dim3 grid,
                                                   struct dim3 block, void **parameters,
                                                   size_t shared_bytes, void *stream) {
    CALL(cuLaunchCooperativeKernel(HANDLE(function), SIZES(grid, block), (unsigned)shared_bytes,
                                   stream, parameters));
}
HCS_EXPORT cudaError_t cudaLaunchCooperativeKernel_ptsz(const void *function, struct dim3 grid,
                                                        struct dim3 block, void **parameters,
                                                        size_t shared_bytes, void *stream) {
    CALL(cuLaunchCooperativeKernel_ptsz(HANDLE(function), SIZES(grid, block),
                                        (unsigned)shared_bytes, stream, parameters));
}

HCS_EXPORT cudaError_t cudaGraphCreate(void **graph, unsigned flags) {
    CALL(cuGraphCreate(graph, flags));
}
/* The parameters are laid out as the driver's. */
HCS_EXPORT cudaError_t cudaGraphAddMemAllocNode(void **node, void *graph,
                                                const void *const *behind, size_t count,
                                                struct hcs_sim_allocation_node *parameters) {
    CALL(cuGraphAddMemAllocNode(node, graph, behind, count, parameters));
}
HCS_EXPORT cudaError_t cudaGraphAddMemFreeNode(void **node, void *graph,
                                               const void *const *behind, size_t count,
                                               void *pointer) {
    CALL(cuGraphAddMemFreeNode(node, graph, behind, count, (CUdeviceptr)(uintptr_t)pointer));
}
HCS_EXPORT cudaError_t cudaGraphInstantiateWithFlags(void **executable, void *graph,
                                                     unsigned long long flags) {
    CALL(cuGraphInstantiateWithFlags(executable, graph, flags));
}
HCS_EXPORT cudaError_t cudaGraphInstantiate(void **executable, void *graph,
                                            unsigned long long flags) {
    return cudaGraphInstantiateWithFlags(executable, graph, flags);
}
HCS_EXPORT cudaError_t cudaGraphExecDestroy(void *executable) {
    CALL(cuGraphExecDestroy(executable));
}
HCS_EXPORT cudaError_t cudaGraphUpload(void *executable, void *stream) {
    CALL(cuGraphUpload(executable, stream));
}
HCS_EXPORT cudaError_t cudaGraphUpload_ptsz(void *executable, void *stream) {
    CALL(cuGraphUpload_ptsz(executable, stream));
}
HCS_EXPORT cudaError_t cudaGraphLaunch(void *executable, void *stream) {
    CALL(cuGraphLaunch(executable, stream));
}
HCS_EXPORT cudaError_t cudaGraphLaunch_ptsz(void *executable, void *stream) {
    CALL(cuGraphLaunch_ptsz(executable, stream));
}
HCS_EXPORT cudaError_t cudaDeviceGetGraphMemAttribute(int device, int attribute, void *value) {
    CALL(cuDeviceGetGraphMemAttribute(device, attribute, value));
}
HCS_EXPORT cudaError_t cudaDeviceGraphMemTrim(int device) { CALL(cuDeviceGraphMemTrim(device)); }
