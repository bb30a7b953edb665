/* What the simulated libamdhip64.so has of streams, events, graphs and launches: card_work.h behind
 * the runtime's own names. A function's handle is whatever the program passes. */
#include "card_work.h"
#include "graph_memory.h"
#include "hip.h"

/* A call on the thread's card. */
#define ON_CARD(CALL)                                                                              \
    const struct hcs_sim_device *card = hcs_hip_card();                                            \
    return card != NULL ? (CALL) : hipErrorInvalidDevice

HCS_EXPORT hipError_t hipStreamCreate(void **stream) {
    ON_CARD(hcs_sim_stream_create(card, stream));
}
HCS_EXPORT hipError_t hipStreamDestroy(void *stream) { return hcs_sim_stream_destroy(stream); }
/* One of those that are always there is the current card's. */
HCS_EXPORT int hipGetStreamDeviceId(void *stream) {
    const void *owner = hcs_hip_card();
    if (stream > HCS_SIM_STREAM_PER_THREAD && !hcs_sim_stream_owner(stream, &owner)) {
        return -1;
    }
    return hcs_sim_card_number_of(owner);
}
HCS_EXPORT hipError_t hipStreamSynchronize(void *stream) {
    ON_CARD(hcs_sim_stream_wait(card, stream));
}
HCS_EXPORT hipError_t hipDeviceSynchronize(void) { ON_CARD((hcs_sim_card_wait(card), hipSuccess)); }

HCS_EXPORT hipError_t hipEventCreateWithFlags(void **event, unsigned flags) {
    (void)flags;
    ON_CARD(hcs_sim_event_create(card, event));
}
HCS_EXPORT hipError_t hipEventDestroy(void *event) { return hcs_sim_event_destroy(event); }
HCS_EXPORT hipError_t hipEventRecord(void *event, void *stream) {
    ON_CARD(hcs_hip_answer(hcs_sim_event_record(card, event, stream)));
}
HCS_EXPORT hipError_t hipEventQuery(void *event) {
    return hcs_hip_answer(hcs_sim_event_query(event));
}
HCS_EXPORT hipError_t hipEventElapsedTime(float *milliseconds, void *start, void *end) {
    return hcs_hip_answer(hcs_sim_event_elapsed(milliseconds, start, end));
}

HCS_EXPORT hipError_t hipLaunchKernel(const void *function, struct dim3 grid, struct dim3 block,
                                      void **parameters, size_t shared_bytes, void *stream) {
    (void)function, (void)block, (void)parameters, (void)shared_bytes;
    uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
    ON_CARD(hcs_hip_answer(hcs_sim_kernel_launch(card, stream, blocks)));
}

HCS_EXPORT hipError_t hipModuleLaunchKernel(void *function, unsigned grid_x, unsigned grid_y,
                                            unsigned grid_z, unsigned block_x, unsigned block_y,
                                            unsigned block_z, unsigned shared_bytes, void *stream,
                                            void **parameters, void **extra) {
    (void)extra;
    struct dim3 grid = {grid_x, grid_y, grid_z}, block = {block_x, block_y, block_z};
    return hipLaunchKernel(function, grid, block, parameters, shared_bytes, stream);
}

HCS_EXPORT hipError_t hipStreamBeginCapture(void *stream, int mode) {
    ON_CARD(hcs_sim_capture_begin(card, stream, mode));
}
HCS_EXPORT hipError_t hipStreamEndCapture(void *stream, void **graph) {
    const struct hcs_sim_device *card = hcs_hip_card();
    hipError_t result = hcs_sim_capture_end(card, stream, graph);
    if (result == hipSuccess) {
        hcs_sim_nodes_captured(stream, *graph);
    }
    return result;
}
HCS_EXPORT hipError_t hipStreamIsCapturing(void *stream, int *status) {
    ON_CARD(hcs_sim_capture_status(card, stream, status));
}
HCS_EXPORT hipError_t hipThreadExchangeStreamCaptureMode(int *mode) {
    return hcs_sim_capture_mode_exchange(mode);
}

/* What can be executed is the graph itself. */
HCS_EXPORT hipError_t hipGraphInstantiateWithFlags(void **executable, void *graph,
                                                   uint64_t flags) {
    (void)flags;
    *executable = graph;
    return hipSuccess;
}
HCS_EXPORT hipError_t hipGraphExecDestroy(void *executable) {
    return executable != NULL ? hipSuccess : hipErrorInvalidValue;
}
HCS_EXPORT hipError_t hipGraphLaunch(void *executable, void *stream) {
    const struct hcs_sim_device *card = hcs_hip_card();
    hipError_t result = hcs_sim_graph_map(executable, stream);
    return result == hipSuccess ? hcs_sim_graph_launch(card, executable, stream) : result;
}
