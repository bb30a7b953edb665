/* What the simulated libmusa.so has of streams, events, graphs and launches: card_work.h behind the
 * driver's own names, with its own numbers. A function's handle is whatever the program passes. */
#include "card_work.h"
#include "musa.h"
#include "runtime_cards.h"

/* A call on the current context's card. */
#define ON_CARD(CALL)                                                                              \
    const struct hcs_sim_device *card = hcs_sim_card_chosen();                                     \
    return card != NULL ? (CALL) : MUSA_ERROR_INVALID_CONTEXT

/* The form of a function whose NULL means the stream of the calling thread. */
static void *own(void *stream) { return stream == NULL ? HCS_SIM_STREAM_PER_THREAD : stream; }

HCS_EXPORT MUresult muStreamCreate(void **stream, unsigned flags) {
    (void)flags;
    ON_CARD(hcs_sim_stream_create(card, stream));
}
HCS_EXPORT MUresult muStreamDestroy_v2(void *stream) { return hcs_sim_stream_destroy(stream); }
HCS_EXPORT MUresult muStreamQuery(void *stream) { ON_CARD(hcs_sim_stream_query(card, stream)); }
HCS_EXPORT MUresult muStreamSynchronize(void *stream) {
    ON_CARD(hcs_sim_stream_wait(card, stream));
}
HCS_EXPORT MUresult muStreamSynchronize_ptsz(void *stream) {
    ON_CARD(hcs_sim_stream_wait(card, own(stream)));
}
HCS_EXPORT MUresult muCtxSynchronize(void) { ON_CARD((hcs_sim_card_wait(card), MUSA_SUCCESS)); }

HCS_EXPORT MUresult muEventCreate(void **event, unsigned flags) {
    (void)flags;
    ON_CARD(hcs_sim_event_create(card, event));
}
HCS_EXPORT MUresult muEventDestroy_v2(void *event) { return hcs_sim_event_destroy(event); }
HCS_EXPORT MUresult muEventRecord(void *event, void *stream) {
    ON_CARD(hcs_sim_event_record(card, event, stream));
}
HCS_EXPORT MUresult muEventQuery(void *event) { return hcs_sim_event_query(event); }
HCS_EXPORT MUresult muEventSynchronize(void *event) { return hcs_sim_event_wait(event); }
HCS_EXPORT MUresult muEventElapsedTime(float *milliseconds, void *start, void *end) {
    return hcs_sim_event_elapsed(milliseconds, start, end);
}

HCS_EXPORT MUresult muLaunchKernel(void *function, unsigned grid_x, unsigned grid_y,
                                   unsigned grid_z, unsigned block_x, unsigned block_y,
                                   unsigned block_z, unsigned shared_bytes, void *stream,
                                   void **parameters, void **extra) {
    (void)function, (void)block_x, (void)block_y, (void)block_z;
    (void)shared_bytes, (void)parameters, (void)extra;
    ON_CARD(hcs_sim_kernel_launch(card, stream, (uint64_t)grid_x * grid_y * grid_z));
}

HCS_EXPORT MUresult muLaunchKernel_ptsz(void *function, unsigned grid_x, unsigned grid_y,
                                        unsigned grid_z, unsigned block_x, unsigned block_y,
                                        unsigned block_z, unsigned shared_bytes, void *stream,
                                        void **parameters, void **extra) {
    return muLaunchKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z,
                          shared_bytes, own(stream), parameters, extra);
}

HCS_EXPORT MUresult muLaunchKernelEx(const MUlaunchConfig *config, void *function,
                                     void **parameters, void **extra) {
    if (config == NULL) {
        return MUSA_ERROR_INVALID_VALUE;
    }
    return muLaunchKernel(function, config->gridDimX, config->gridDimY, config->gridDimZ,
                          config->blockDimX, config->blockDimY, config->blockDimZ,
                          config->sharedMemBytes, config->hStream, parameters, extra);
}

HCS_EXPORT MUresult muLaunchKernelEx_ptsz(const MUlaunchConfig *config, void *function,
                                          void **parameters, void **extra) {
    if (config == NULL) {
        return MUSA_ERROR_INVALID_VALUE;
    }
    MUlaunchConfig owned = *config;
    owned.hStream = own(owned.hStream);
    return muLaunchKernelEx(&owned, function, parameters, extra);
}

HCS_EXPORT MUresult muLaunchCooperativeKernel(void *function, unsigned grid_x, unsigned grid_y,
                                              unsigned grid_z, unsigned block_x, unsigned block_y,
                                              unsigned block_z, unsigned shared_bytes,
                                              void *stream, void **parameters) {
    return muLaunchKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z,
                          shared_bytes, stream, parameters, NULL);
}

HCS_EXPORT MUresult muLaunchCooperativeKernel_ptsz(void *function, unsigned grid_x,
                                                   unsigned grid_y, unsigned grid_z,
                                                   unsigned block_x, unsigned block_y,
                                                   unsigned block_z, unsigned shared_bytes,
                                                   void *stream, void **parameters) {
    return muLaunchKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z,
                          shared_bytes, own(stream), parameters, NULL);
}

HCS_EXPORT MUresult muStreamBeginCapture(void *stream, int mode) {
    ON_CARD(hcs_sim_capture_begin(card, stream, mode));
}
HCS_EXPORT MUresult muStreamEndCapture(void *stream, void **graph) {
    ON_CARD(hcs_sim_capture_end(card, stream, graph));
}
HCS_EXPORT MUresult muStreamIsCapturing(void *stream, int *status) {
    ON_CARD(hcs_sim_capture_status(card, stream, status));
}
HCS_EXPORT MUresult muThreadExchangeStreamCaptureMode(int *mode) {
    return hcs_sim_capture_mode_exchange(mode);
}

/* What can be executed is the graph itself. */
HCS_EXPORT MUresult muGraphInstantiateWithFlags(void **executable, void *graph, uint64_t flags) {
    (void)flags;
    *executable = graph;
    return MUSA_SUCCESS;
}
HCS_EXPORT MUresult muGraphLaunch(void *executable, void *stream) {
    ON_CARD(hcs_sim_graph_launch(card, executable, stream));
}
HCS_EXPORT MUresult muGraphLaunch_ptsz(void *executable, void *stream) {
    return muGraphLaunch(executable, own(stream));
}
