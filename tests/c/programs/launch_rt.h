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
    X(rtModelExecute, (void *, void *, uint32_t))
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
static int graph(unsigned unused) {
    (void)unused;
    return rtModelExecute(executable, stream, 0);
}

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
    {"graph", graph},
    {NULL, NULL},
};
