/* Launches by the layer below ACL. */
#define LIBRARY "libruntime.so"
#define FUNCTIONS(X)                                                                               \
    X(rtSetDevice, (int32_t))                                                                      \
    X(rtDeviceReset, (int32_t))                                                                    \
    X(rtDeviceSynchronize, (void))                                                                 \
    X(rtStreamCreate, (void **, int32_t))                                                          \
    X(rtStreamDestroy, (void *))                                                                   \
    X(rtStreamBeginCapture, (void *, int))                                                         \
    X(rtStreamEndCapture, (void *, void **))                                                       \
    X(rtKernelLaunch, (const void *, uint32_t, void *, uint32_t, void *, void *))                  \
    X(rtKernelLaunchWithFlag, (const void *, uint32_t, void *, void *, void *, uint32_t))          \
    X(rtKernelLaunchWithFlagV2, (const void *, uint32_t, void *, void *, void *, uint32_t,         \
                                 void *))                                                          \
    X(rtKernelLaunchWithHandle, (void *, uint64_t, uint32_t, void *, void *, void *, void *))      \
    X(rtKernelLaunchWithHandleV2, (void *, uint64_t, uint32_t, void *, void *, void *, void *))    \
    X(rtVectorCoreKernelLaunch, (const void *, uint32_t, void *, void *, void *, uint32_t,         \
                                 void *))                                                          \
    X(rtVectorCoreKernelLaunchWithHandle, (void *, uint64_t, uint32_t, void *, void *, void *,     \
                                           void *))                                                \
    X(rtLaunchKernelByFuncHandle, (void *, uint32_t, void *, void *))                              \
    X(rtLaunchKernelByFuncHandleV2, (void *, uint32_t, void *, void *, void *))                    \
    X(rtLaunchKernelByFuncHandleV3, (void *, uint32_t, void *, void *, void *))                    \
    X(rtLaunchKernelWithArgsArray, (void *, uint32_t, void *, void *, void **))                    \
    X(rtsLaunchKernelWithConfig, (void *, uint32_t, void *, void *, void *, void *))               \
    X(rtsLaunchKernelWithDevArgs, (void *, uint32_t, void *, void *, void *, uint32_t, void *))    \
    X(rtsLaunchKernelWithHostArgs, (void *, uint32_t, void *, void *, void *, uint32_t, void *,    \
                                    uint32_t))                                                     \
    X(rtFftsTaskLaunch, (void *, void *))                                                          \
    X(rtFftsTaskLaunchWithFlag, (void *, void *, uint32_t))                                        \
    X(rtFftsPlusTaskLaunch, (void *, void *))                                                      \
    X(rtFftsPlusTaskLaunchWithFlag, (void *, void *, uint32_t))                                    \
    X(rtMultipleTaskInfoLaunch, (const void *, void *))                                            \
    X(rtMultipleTaskInfoLaunchWithFlag, (const void *, void *, uint32_t))                          \
    X(rtFusionLaunch, (void *, void *, void *))                                                    \
    X(rtKernelLaunchEx, (void *, uint32_t, uint32_t, void *))                                      \
    X(rtKernelLaunchFwk, (const char *, void *, uint32_t, uint32_t, void *))                       \
    X(rtCpuKernelLaunch, (const void *, const void *, uint32_t, const void *, uint32_t, void *,    \
                          void *))                                                                 \
    X(rtCpuKernelLaunchWithFlag, (const void *, const void *, uint32_t, const void *, void *,      \
                                  void *, uint32_t))                                               \
    X(rtAicpuKernelLaunch, (const void *, uint32_t, const void *, uint32_t, void *, void *))       \
    X(rtAicpuKernelLaunchWithFlag, (const void *, uint32_t, const void *, void *, void *,          \
                                    uint32_t))                                                     \
    X(rtAicpuKernelLaunchEx, (uint32_t, const void *, uint32_t, const void *, void *, void *,      \
                              uint32_t))                                                           \
    X(rtAicpuKernelLaunchExWithArgs, (uint32_t, const char *, uint32_t, const void *, void *,      \
                                      void *, uint32_t))                                           \
    X(rtsLaunchCpuKernel, (void *, uint32_t, void *, const void *, void *))                        \
    X(rtModelExecute, (void *, void *, uint32_t))                                                  \
    X(rtModelExecuteSync, (void *, void *, uint32_t, int32_t))                                     \
    X(rtsModelExecute, (void *, int32_t))                                                          \
    X(rtsModelExecuteAsync, (void *, void *))
FUNCTIONS(DECLARE)

static int begin(void) { return 0; }
static int use_device(int device) { return rtSetDevice(device); }
static int reset(void) { return rtDeviceReset(0) || use_device(0); }
static int finish(void) { return rtDeviceSynchronize(); }
static int new_stream(void **made) { return rtStreamCreate(made, 0); }
static int drop_stream(void *made) { return rtStreamDestroy(made); }
static int begin_capture(void *captured) { return rtStreamBeginCapture(captured, 0); }
static int end_capture(void *captured, void **made) { return rtStreamEndCapture(captured, made); }

static int kernel(unsigned blocks) { return rtKernelLaunch(NULL, blocks, NULL, 0, NULL, NULL); }
static int in_stream(unsigned blocks) {
    return rtKernelLaunch(NULL, blocks, NULL, 0, NULL, stream);
}
static int flagged(unsigned blocks) {
    return rtKernelLaunchWithFlag(NULL, blocks, NULL, NULL, stream, 0);
}
static int flagged_2(unsigned blocks) {
    return rtKernelLaunchWithFlagV2(NULL, blocks, NULL, NULL, stream, 0, NULL);
}
static int of_handle(unsigned blocks) {
    return rtKernelLaunchWithHandle(NULL, 1, blocks, NULL, NULL, stream, NULL);
}
static int of_handle_2(unsigned blocks) {
    return rtKernelLaunchWithHandleV2(NULL, 1, blocks, NULL, NULL, stream, NULL);
}
static int vector(unsigned blocks) {
    return rtVectorCoreKernelLaunch(NULL, blocks, NULL, NULL, stream, 0, NULL);
}
static int vector_of_handle(unsigned blocks) {
    return rtVectorCoreKernelLaunchWithHandle(NULL, 1, blocks, NULL, NULL, stream, NULL);
}
static int by_handle(unsigned blocks) {
    return rtLaunchKernelByFuncHandle(NULL, blocks, NULL, stream);
}
static int by_handle_2(unsigned blocks) {
    return rtLaunchKernelByFuncHandleV2(NULL, blocks, NULL, stream, NULL);
}
static int by_handle_3(unsigned blocks) {
    return rtLaunchKernelByFuncHandleV3(NULL, blocks, NULL, stream, NULL);
}
static int with_array(unsigned blocks) {
    return rtLaunchKernelWithArgsArray(NULL, blocks, stream, NULL, NULL);
}
static int configured(unsigned blocks) {
    return rtsLaunchKernelWithConfig(NULL, blocks, stream, NULL, NULL, NULL);
}
static int with_device_arguments(unsigned blocks) {
    return rtsLaunchKernelWithDevArgs(NULL, blocks, stream, NULL, NULL, 0, NULL);
}
static int with_host_arguments(unsigned blocks) {
    return rtsLaunchKernelWithHostArgs(NULL, blocks, stream, NULL, NULL, 0, NULL, 0);
}

/* Descriptions of tasks, which say how much there is to do. */
static int tasks[1];
#define TASKS(NAME, CALL)                                                                          \
    static int NAME(unsigned unused) {                                                             \
        (void)unused;                                                                              \
        return CALL;                                                                               \
    }
TASKS(ffts, rtFftsTaskLaunch(tasks, stream))
TASKS(ffts_flagged, rtFftsTaskLaunchWithFlag(tasks, stream, 0))
TASKS(ffts_plus, rtFftsPlusTaskLaunch(tasks, stream))
TASKS(ffts_plus_flagged, rtFftsPlusTaskLaunchWithFlag(tasks, stream, 0))
TASKS(multiple, rtMultipleTaskInfoLaunch(tasks, stream))
TASKS(multiple_flagged, rtMultipleTaskInfoLaunchWithFlag(tasks, stream, 0))
TASKS(fused, rtFusionLaunch(tasks, stream, NULL))
TASKS(of_framework, rtKernelLaunchEx(tasks, sizeof tasks, 0, stream))
TASKS(of_framework_named, rtKernelLaunchFwk("op", tasks, sizeof tasks, 0, stream))

static int cpu(unsigned blocks) {
    return rtCpuKernelLaunch(NULL, NULL, blocks, NULL, 0, NULL, stream);
}
static int cpu_flagged(unsigned blocks) {
    return rtCpuKernelLaunchWithFlag(NULL, NULL, blocks, NULL, NULL, stream, 0);
}
static int ai_cpu(unsigned blocks) {
    return rtAicpuKernelLaunch(NULL, blocks, NULL, 0, NULL, stream);
}
static int ai_cpu_flagged(unsigned blocks) {
    return rtAicpuKernelLaunchWithFlag(NULL, blocks, NULL, NULL, stream, 0);
}
static int ai_cpu_typed(unsigned blocks) {
    return rtAicpuKernelLaunchEx(2, NULL, blocks, NULL, NULL, stream, 0);
}
static int ai_cpu_with_arguments(unsigned blocks) {
    return rtAicpuKernelLaunchExWithArgs(2, "op", blocks, NULL, NULL, stream, 0);
}
static int cpu_by_handle(unsigned blocks) {
    return rtsLaunchCpuKernel(NULL, blocks, stream, NULL, NULL);
}

TASKS(graph, rtModelExecute(executable, stream, 0))
TASKS(graph_asynchronous, rtsModelExecuteAsync(executable, stream))
TASKS(graph_awaited, rtsModelExecute(executable, -1))
TASKS(graph_awaited_in_stream, rtModelExecuteSync(executable, stream, 0, -1))

static const struct kind kinds[] = {
    {"kernel", kernel},
    {"in_stream", in_stream},
    {"flagged", flagged},
    {"flagged_2", flagged_2},
    {"of_handle", of_handle},
    {"of_handle_2", of_handle_2},
    {"vector", vector},
    {"vector_of_handle", vector_of_handle},
    {"by_handle", by_handle},
    {"by_handle_2", by_handle_2},
    {"by_handle_3", by_handle_3},
    {"with_array", with_array},
    {"configured", configured},
    {"with_device_arguments", with_device_arguments},
    {"with_host_arguments", with_host_arguments},
    {"ffts", ffts},
    {"ffts_flagged", ffts_flagged},
    {"ffts_plus", ffts_plus},
    {"ffts_plus_flagged", ffts_plus_flagged},
    {"multiple", multiple},
    {"multiple_flagged", multiple_flagged},
    {"fused", fused},
    {"of_framework", of_framework},
    {"of_framework_named", of_framework_named},
    {"cpu", cpu},
    {"cpu_flagged", cpu_flagged},
    {"ai_cpu", ai_cpu},
    {"ai_cpu_flagged", ai_cpu_flagged},
    {"ai_cpu_typed", ai_cpu_typed},
    {"ai_cpu_with_arguments", ai_cpu_with_arguments},
    {"cpu_by_handle", cpu_by_handle},
    {"graph", graph},
    {"graph_asynchronous", graph_asynchronous},
    {"graph_awaited", graph_awaited},
    {"graph_awaited_in_stream", graph_awaited_in_stream},
    {NULL, NULL},
};
