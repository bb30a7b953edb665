/* What the simulated libruntime.so has of streams, events, models and launches: card_work.h behind
 * the runtime's own names and numbers. A function's handle is whatever the program passes. */
#include "card_work.h"
#include "runtime_ascend.h"
#include "runtime_cards.h"

#define TASKS_BLOCKS 1000 /* what a description of tasks stands for */

enum { FOR_EVER = -1 };

static rtError_t result_of(int result) {
    switch (result) {
    case HCS_SIM_DONE:
        return ACL_SUCCESS;
    case HCS_SIM_OUT_OF_MEMORY:
        return ACL_ERROR_RT_RESOURCE_ALLOC_FAIL;
    case HCS_SIM_NOT_READY:
        return ACL_ERROR_RT_EVENT_TIMESTAMP_INVALID;
    case HCS_SIM_CAPTURE_UNSUPPORTED:
        return ACL_ERROR_RT_CAPTURE_MODE_NOT_SUPPORT;
    case HCS_SIM_CAPTURE_INVALIDATED:
        return ACL_ERROR_RT_STREAM_CAPTURE_INVALIDATED;
    case HCS_SIM_CAPTURED_EVENT:
        return ACL_ERROR_RT_EVENT_CAPTURED;
    default:
        return ACL_ERROR_RT_PARAM_INVALID;
    }
}

/* A call on the thread's card. */
#define ON_CARD(CALL)                                                                              \
    const struct hcs_sim_device *card = hcs_sim_card_chosen();                                     \
    return card != NULL ? result_of(CALL) : ACL_ERROR_RT_CONTEXT_NULL

HCS_EXPORT rtError_t rtStreamCreate(void **stream, int32_t priority) {
    (void)priority;
    ON_CARD(hcs_sim_stream_create(card, stream));
}
HCS_EXPORT rtError_t rtStreamDestroy(void *stream) {
    return result_of(hcs_sim_stream_destroy(stream));
}
HCS_EXPORT rtError_t rtStreamSynchronize(void *stream) {
    ON_CARD(hcs_sim_stream_wait(card, stream));
}
HCS_EXPORT rtError_t rtDeviceSynchronize(void) {
    ON_CARD((hcs_sim_card_wait(card), HCS_SIM_DONE));
}

/* Every event knows its time here, whatever the flags. */
HCS_EXPORT rtError_t rtEventCreateWithFlag(void **event, uint32_t flags) {
    if (flags == 0) {
        return ACL_ERROR_RT_PARAM_INVALID;
    }
    ON_CARD(hcs_sim_event_create(card, event));
}
HCS_EXPORT rtError_t rtEventCreate(void **event) {
    return rtEventCreateWithFlag(event, RT_EVENT_DEFAULT);
}
HCS_EXPORT rtError_t rtEventDestroy(void *event) {
    return result_of(hcs_sim_event_destroy(event));
}
HCS_EXPORT rtError_t rtEventRecord(void *event, void *stream) {
    ON_CARD(hcs_sim_event_record(card, event, stream));
}
HCS_EXPORT rtError_t rtEventSynchronize(void *event) {
    return result_of(hcs_sim_event_wait(event));
}

/* Success says nothing of the event: that is in the status. */
HCS_EXPORT rtError_t rtEventQueryStatus(void *event, int *status) {
    int result = hcs_sim_event_query(event);
    *status = result == HCS_SIM_DONE ? RT_EVENT_RECORDED : RT_EVENT_INIT;
    return result == HCS_SIM_NOT_READY ? ACL_SUCCESS : result_of(result);
}
HCS_EXPORT rtError_t rtEventElapsedTime(float *milliseconds, void *start, void *end) {
    return result_of(hcs_sim_event_elapsed(milliseconds, start, end));
}

/* The forms of a launch: all that the kernel is given is whatever the program passes. */
static rtError_t launch(void *stream, uint32_t blocks) {
    ON_CARD(hcs_sim_kernel_launch(card, stream, blocks));
}

HCS_EXPORT rtError_t rtKernelLaunch(const void *function, uint32_t blocks, void *arguments,
                                    uint32_t bytes, void *memory, void *stream) {
    (void)function, (void)arguments, (void)bytes, (void)memory;
    return launch(stream, blocks);
}
HCS_EXPORT rtError_t rtKernelLaunchWithFlag(const void *function, uint32_t blocks,
                                            void *arguments, void *memory, void *stream,
                                            uint32_t flags) {
    (void)function, (void)arguments, (void)memory, (void)flags;
    return launch(stream, blocks);
}
HCS_EXPORT rtError_t rtKernelLaunchWithFlagV2(const void *function, uint32_t blocks,
                                              void *arguments, void *memory, void *stream,
                                              uint32_t flags, const void *settings) {
    (void)settings;
    return rtKernelLaunchWithFlag(function, blocks, arguments, memory, stream, flags);
}
HCS_EXPORT rtError_t rtKernelLaunchWithHandle(void *handle, uint64_t key, uint32_t blocks,
                                              void *arguments, void *memory, void *stream,
                                              const void *information) {
    (void)handle, (void)key, (void)arguments, (void)memory, (void)information;
    return launch(stream, blocks);
}
HCS_EXPORT rtError_t rtKernelLaunchWithHandleV2(void *handle, uint64_t key, uint32_t blocks,
                                                void *arguments, void *memory, void *stream,
                                                const void *settings) {
    (void)settings;
    return rtKernelLaunchWithHandle(handle, key, blocks, arguments, memory, stream, NULL);
}
HCS_EXPORT rtError_t rtVectorCoreKernelLaunch(const void *function, uint32_t blocks,
                                              void *arguments, void *memory, void *stream,
                                              uint32_t flags, const void *settings) {
    return rtKernelLaunchWithFlagV2(function, blocks, arguments, memory, stream, flags, settings);
}
HCS_EXPORT rtError_t rtVectorCoreKernelLaunchWithHandle(void *handle, uint64_t key,
                                                        uint32_t blocks, void *arguments,
                                                        void *memory, void *stream,
                                                        const void *settings) {
    return rtKernelLaunchWithHandleV2(handle, key, blocks, arguments, memory, stream, settings);
}
HCS_EXPORT rtError_t rtLaunchKernelByFuncHandle(void *function, uint32_t blocks, void *arguments,
                                                void *stream) {
    (void)function, (void)arguments;
    return launch(stream, blocks);
}
HCS_EXPORT rtError_t rtLaunchKernelByFuncHandleV2(void *function, uint32_t blocks,
                                                  void *arguments, void *stream,
                                                  const void *settings) {
    (void)settings;
    return rtLaunchKernelByFuncHandle(function, blocks, arguments, stream);
}
HCS_EXPORT rtError_t rtLaunchKernelByFuncHandleV3(void *function, uint32_t blocks,
                                                  const void *arguments, void *stream,
                                                  const void *settings) {
    (void)function, (void)arguments, (void)settings;
    return launch(stream, blocks);
}
HCS_EXPORT rtError_t rtLaunchKernelWithArgsArray(void *function, uint32_t blocks, void *stream,
                                                 void *settings, void **arguments) {
    (void)function, (void)settings, (void)arguments;
    return launch(stream, blocks);
}
HCS_EXPORT rtError_t rtsLaunchKernelWithConfig(void *function, uint32_t blocks, void *stream,
                                               void *settings, void *arguments, void *reserved) {
    (void)function, (void)settings, (void)arguments, (void)reserved;
    return launch(stream, blocks);
}
HCS_EXPORT rtError_t rtsLaunchKernelWithDevArgs(void *function, uint32_t blocks, void *stream,
                                                void *settings, const void *arguments,
                                                uint32_t bytes, void *reserved) {
    (void)function, (void)settings, (void)arguments, (void)bytes, (void)reserved;
    return launch(stream, blocks);
}
HCS_EXPORT rtError_t rtsLaunchKernelWithHostArgs(void *function, uint32_t blocks, void *stream,
                                                 void *settings, void *arguments, uint32_t bytes,
                                                 void *places, uint32_t place_count) {
    (void)function, (void)settings, (void)arguments, (void)bytes, (void)places, (void)place_count;
    return launch(stream, blocks);
}

/* Tasks that the program describes to the runtime: what they are is not looked at. */
static rtError_t launch_tasks(const void *tasks, void *stream) {
    return tasks != NULL ? launch(stream, TASKS_BLOCKS) : ACL_ERROR_RT_PARAM_INVALID;
}

HCS_EXPORT rtError_t rtFftsTaskLaunch(void *tasks, void *stream) {
    return launch_tasks(tasks, stream);
}
HCS_EXPORT rtError_t rtFftsTaskLaunchWithFlag(void *tasks, void *stream, uint32_t flags) {
    (void)flags;
    return launch_tasks(tasks, stream);
}
HCS_EXPORT rtError_t rtFftsPlusTaskLaunch(void *tasks, void *stream) {
    return launch_tasks(tasks, stream);
}
HCS_EXPORT rtError_t rtFftsPlusTaskLaunchWithFlag(void *tasks, void *stream, uint32_t flags) {
    (void)flags;
    return launch_tasks(tasks, stream);
}
HCS_EXPORT rtError_t rtMultipleTaskInfoLaunch(const void *tasks, void *stream) {
    return launch_tasks(tasks, stream);
}
HCS_EXPORT rtError_t rtMultipleTaskInfoLaunchWithFlag(const void *tasks, void *stream,
                                                      uint32_t flags) {
    (void)flags;
    return launch_tasks(tasks, stream);
}
HCS_EXPORT rtError_t rtFusionLaunch(void *tasks, void *stream, void *arguments) {
    (void)arguments;
    return launch_tasks(tasks, stream);
}
HCS_EXPORT rtError_t rtKernelLaunchEx(void *arguments, uint32_t bytes, uint32_t flags,
                                      void *stream) {
    (void)bytes, (void)flags;
    return launch_tasks(arguments, stream);
}
HCS_EXPORT rtError_t rtKernelLaunchFwk(const char *name, void *arguments, uint32_t bytes,
                                       uint32_t flags, void *stream) {
    (void)name;
    return rtKernelLaunchEx(arguments, bytes, flags, stream);
}

/* Kernels of the processors beside the cores; here they take the card as any other. */
HCS_EXPORT rtError_t rtCpuKernelLaunch(const void *library, const void *name, uint32_t blocks,
                                       const void *arguments, uint32_t bytes, void *memory,
                                       void *stream) {
    (void)library, (void)name, (void)arguments, (void)bytes, (void)memory;
    return launch(stream, blocks);
}
HCS_EXPORT rtError_t rtCpuKernelLaunchWithFlag(const void *library, const void *name,
                                               uint32_t blocks, const void *arguments,
                                               void *memory, void *stream, uint32_t flags) {
    (void)flags;
    return rtCpuKernelLaunch(library, name, blocks, arguments, 0, memory, stream);
}
HCS_EXPORT rtError_t rtAicpuKernelLaunch(const void *names, uint32_t blocks, const void *arguments,
                                         uint32_t bytes, void *memory, void *stream) {
    (void)names, (void)arguments, (void)bytes, (void)memory;
    return launch(stream, blocks);
}
HCS_EXPORT rtError_t rtAicpuKernelLaunchWithFlag(const void *names, uint32_t blocks,
                                                 const void *arguments, void *memory,
                                                 void *stream, uint32_t flags) {
    (void)flags;
    return rtAicpuKernelLaunch(names, blocks, arguments, 0, memory, stream);
}
HCS_EXPORT rtError_t rtAicpuKernelLaunchEx(uint32_t type, const void *names, uint32_t blocks,
                                           const void *arguments, void *memory, void *stream,
                                           uint32_t flags) {
    (void)type;
    return rtAicpuKernelLaunchWithFlag(names, blocks, arguments, memory, stream, flags);
}
HCS_EXPORT rtError_t rtAicpuKernelLaunchExWithArgs(uint32_t type, const char *name,
                                                   uint32_t blocks, const void *arguments,
                                                   void *memory, void *stream, uint32_t flags) {
    (void)type;
    return rtAicpuKernelLaunchWithFlag(name, blocks, arguments, memory, stream, flags);
}
HCS_EXPORT rtError_t rtsLaunchCpuKernel(void *function, uint32_t blocks, void *stream,
                                        const void *settings, void *arguments) {
    (void)function, (void)settings, (void)arguments;
    return launch(stream, blocks);
}

/* A captured stream becomes a model. */
HCS_EXPORT rtError_t rtStreamBeginCapture(void *stream, int mode) {
    ON_CARD(stream != NULL ? hcs_sim_capture_begin(card, stream, mode) : HCS_SIM_INVALID_VALUE);
}
HCS_EXPORT rtError_t rtStreamEndCapture(void *stream, void **model) {
    ON_CARD(hcs_sim_capture_end(card, stream, model));
}
HCS_EXPORT rtError_t rtStreamGetCaptureInfo(void *stream, int *status, void **model) {
    *model = NULL; /* it is there only at the end */
    ON_CARD(stream != NULL ? hcs_sim_capture_status(card, stream, status) : HCS_SIM_INVALID_VALUE);
}
HCS_EXPORT rtError_t rtThreadExchangeCaptureMode(int *mode) {
    return result_of(hcs_sim_capture_mode_exchange(mode));
}
HCS_EXPORT rtError_t rtModelExecute(void *model, void *stream, uint32_t flags) {
    (void)flags;
    ON_CARD(hcs_sim_graph_launch(card, model, stream));
}
/* (Only without a limit to the wait.) */
HCS_EXPORT rtError_t rtModelExecuteSync(void *model, void *stream, uint32_t flags,
                                        int32_t timeout_ms) {
    if (timeout_ms != FOR_EVER) {
        return ACL_ERROR_RT_FEATURE_NOT_SUPPORT;
    }
    rtError_t result = rtModelExecute(model, stream, flags);
    return result == ACL_SUCCESS ? rtStreamSynchronize(stream) : result;
}
HCS_EXPORT rtError_t rtsModelExecute(void *model, int32_t timeout_ms) {
    return rtModelExecuteSync(model, NULL, 0, timeout_ms);
}
HCS_EXPORT rtError_t rtsModelExecuteAsync(void *model, void *stream) {
    return rtModelExecute(model, stream, 0);
}
