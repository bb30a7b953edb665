/* What the simulated libcuda.so.1 has of streams, events, graphs and launches: card_work.h behind
 * the driver's own names. A function's handle is whatever the program passes. */
#include "card_work.h"
#include "cuda.h"
#include "graph_memory.h"

static const struct hcs_sim_device *card(void) { return hcs_cuda_current_card(); }

/* A call on the current context's card. */
#define ON_CARD(CALL)                                                                              \
    CUresult current = hcs_cuda_check_current();                                                   \
    return current == CUDA_SUCCESS ? (CALL) : current

/* The form of a function whose NULL means the stream of the calling thread. */
static void *own(void *stream) { return stream == NULL ? HCS_SIM_STREAM_PER_THREAD : stream; }

static uint64_t product(unsigned x, unsigned y, unsigned z) { return (uint64_t)x * y * z; }

HCS_EXPORT CUresult cuStreamCreate(void **stream, unsigned flags) {
    (void)flags;
    ON_CARD(hcs_sim_stream_create(hcs_cuda_current(), stream));
}
HCS_EXPORT CUresult cuStreamDestroy_v2(void *stream) { return hcs_sim_stream_destroy(stream); }
HCS_EXPORT CUresult cuStreamQuery(void *stream) { ON_CARD(hcs_sim_stream_query(card(), stream)); }
/* One of those that are always there is the current context's. */
HCS_EXPORT CUresult cuStreamGetCtx(void *stream, CUcontext *context) {
    const void *owner;
    *context = hcs_sim_stream_owner(stream, &owner) ? (CUcontext)(uintptr_t)owner
                                                    : hcs_cuda_current();
    return *context != NULL ? CUDA_SUCCESS : hcs_cuda_check_current();
}
HCS_EXPORT CUresult cuStreamSynchronize(void *stream) {
    ON_CARD(hcs_sim_stream_wait(card(), stream));
}
HCS_EXPORT CUresult cuStreamSynchronize_ptsz(void *stream) {
    return cuStreamSynchronize(own(stream));
}
HCS_EXPORT CUresult cuCtxSynchronize(void) { ON_CARD((hcs_sim_card_wait(card()), CUDA_SUCCESS)); }
HCS_EXPORT CUresult cuCtxSynchronize_v2(CUcontext context) {
    if (context == NULL) {
        return cuCtxSynchronize();
    }
    hcs_sim_card_wait(hcs_cuda_card(hcs_cuda_device_of(context)));
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuEventCreate(void **event, unsigned flags) {
    (void)flags;
    ON_CARD(hcs_sim_event_create(hcs_cuda_current(), event));
}
HCS_EXPORT CUresult cuEventDestroy_v2(void *event) { return hcs_sim_event_destroy(event); }
HCS_EXPORT CUresult cuEventRecord(void *event, void *stream) {
    ON_CARD(hcs_sim_event_record(card(), event, stream));
}
HCS_EXPORT CUresult cuEventQuery(void *event) { return hcs_sim_event_query(event); }
HCS_EXPORT CUresult cuEventSynchronize(void *event) { return hcs_sim_event_wait(event); }
HCS_EXPORT CUresult cuEventElapsedTime(float *milliseconds, void *start, void *end) {
    return hcs_sim_event_elapsed(milliseconds, start, end);
}

HCS_EXPORT CUresult cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y,
                                   unsigned grid_z, unsigned block_x, unsigned block_y,
                                   unsigned block_z, unsigned shared_bytes, void *stream,
                                   void **parameters, void **extra) {
    (void)function, (void)block_x, (void)block_y, (void)block_z;
    (void)shared_bytes, (void)parameters, (void)extra;
    ON_CARD(hcs_sim_kernel_launch(card(), stream, product(grid_x, grid_y, grid_z)));
}

HCS_EXPORT CUresult cuLaunchKernel_ptsz(void *function, unsigned grid_x, unsigned grid_y,
                                        unsigned grid_z, unsigned block_x, unsigned block_y,
                                        unsigned block_z, unsigned shared_bytes, void *stream,
                                        void **parameters, void **extra) {
    return cuLaunchKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z,
                          shared_bytes, own(stream), parameters, extra);
}

HCS_EXPORT CUresult cuLaunchKernelEx(const CUlaunchConfig *config, void *function,
                                     void **parameters, void **extra) {
    if (config == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    return cuLaunchKernel(function, config->gridDimX, config->gridDimY, config->gridDimZ,
                          config->blockDimX, config->blockDimY, config->blockDimZ,
                          config->sharedMemBytes, config->hStream, parameters, extra);
}

HCS_EXPORT CUresult cuLaunchKernelEx_ptsz(const CUlaunchConfig *config, void *function,
                                          void **parameters, void **extra) {
    if (config == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    CUlaunchConfig owned = *config;
    owned.hStream = own(owned.hStream);
    return cuLaunchKernelEx(&owned, function, parameters, extra);
}

HCS_EXPORT CUresult cuLaunchCooperativeKernel(void *function, unsigned grid_x, unsigned grid_y,
                                              unsigned grid_z, unsigned block_x, unsigned block_y,
                                              unsigned block_z, unsigned shared_bytes,
                                              void *stream, void **parameters) {
    return cuLaunchKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z,
                          shared_bytes, stream, parameters, NULL);
}

HCS_EXPORT CUresult cuLaunchCooperativeKernel_ptsz(void *function, unsigned grid_x,
                                                   unsigned grid_y, unsigned grid_z,
                                                   unsigned block_x, unsigned block_y,
                                                   unsigned block_z, unsigned shared_bytes,
                                                   void *stream, void **parameters) {
    return cuLaunchKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z,
                          shared_bytes, own(stream), parameters, NULL);
}

HCS_EXPORT CUresult cuLaunchGridAsync(void *function, int width, int height, void *stream) {
    (void)function;
    ON_CARD(hcs_sim_kernel_launch(card(), stream, product((unsigned)width, (unsigned)height, 1)));
}
HCS_EXPORT CUresult cuLaunchGrid(void *function, int width, int height) {
    return cuLaunchGridAsync(function, width, height, NULL);
}
HCS_EXPORT CUresult cuLaunch(void *function) { return cuLaunchGrid(function, 1, 1); }

HCS_EXPORT CUresult cuLaunchCooperativeKernelMultiDevice(const CUDA_LAUNCH_PARAMS *launches,
                                                         unsigned count, unsigned flags) {
    (void)flags;
    CUresult result = count > 0 && launches != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < count && result == CUDA_SUCCESS; i++) {
        const CUDA_LAUNCH_PARAMS *one = &launches[i];
        CUcontext context;
        result = cuStreamGetCtx(one->hStream, &context);
        if (result == CUDA_SUCCESS) {
            result = hcs_sim_kernel_launch(hcs_cuda_card(hcs_cuda_device_of(context)),
                                           one->hStream,
                                           product(one->gridDimX, one->gridDimY, one->gridDimZ));
        }
    }
    return result;
}

HCS_EXPORT CUresult cuStreamBeginCapture_v2(void *stream, int mode) {
    ON_CARD(hcs_sim_capture_begin(card(), stream, mode));
}
HCS_EXPORT CUresult cuStreamEndCapture(void *stream, void **graph) {
    CUresult result = hcs_cuda_check_current();
    result = result == CUDA_SUCCESS ? hcs_sim_capture_end(card(), stream, graph) : result;
    if (result == CUDA_SUCCESS) {
        hcs_sim_nodes_captured(stream, *graph);
    }
    return result;
}
HCS_EXPORT CUresult cuStreamIsCapturing(void *stream, int *status) {
    ON_CARD(hcs_sim_capture_status(card(), stream, status));
}
HCS_EXPORT CUresult cuThreadExchangeStreamCaptureMode(int *mode) {
    return hcs_sim_capture_mode_exchange(mode);
}

/* What can be executed is the graph itself. */
HCS_EXPORT CUresult cuGraphInstantiateWithFlags(void **executable, void *graph, uint64_t flags) {
    (void)flags;
    *executable = graph;
    return CUDA_SUCCESS;
}
HCS_EXPORT CUresult cuGraphInstantiate_v2(void **executable, void *graph, void **node, char *text,
                                          size_t text_bytes) {
    (void)node, (void)text, (void)text_bytes;
    return cuGraphInstantiateWithFlags(executable, graph, 0);
}
HCS_EXPORT CUresult cuGraphInstantiate(void **executable, void *graph, void **node, char *text,
                                       size_t text_bytes) {
    return cuGraphInstantiate_v2(executable, graph, node, text, text_bytes);
}
HCS_EXPORT CUresult cuGraphInstantiateWithParams(void **executable, void *graph,
                                                 CUDA_GRAPH_INSTANTIATE_PARAMS *parameters) {
    if (parameters == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    parameters->result_out = 0;
    return cuGraphInstantiateWithFlags(executable, graph, parameters->flags);
}
HCS_EXPORT CUresult cuGraphInstantiateWithParams_ptsz(void **executable, void *graph,
                                                      CUDA_GRAPH_INSTANTIATE_PARAMS *parameters) {
    return cuGraphInstantiateWithParams(executable, graph, parameters);
}
HCS_EXPORT CUresult cuGraphExecDestroy(void *executable) {
    return executable != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
HCS_EXPORT CUresult cuGraphUpload(void *executable, void *stream) {
    ON_CARD(hcs_sim_graph_map(executable, stream));
}
HCS_EXPORT CUresult cuGraphUpload_ptsz(void *executable, void *stream) {
    return cuGraphUpload(executable, own(stream));
}
HCS_EXPORT CUresult cuGraphLaunch(void *executable, void *stream) {
    CUresult result = cuGraphUpload(executable, stream);
    return result == CUDA_SUCCESS ? hcs_sim_graph_launch(card(), executable, stream) : result;
}
HCS_EXPORT CUresult cuGraphLaunch_ptsz(void *executable, void *stream) {
    return cuGraphLaunch(executable, own(stream));
}
