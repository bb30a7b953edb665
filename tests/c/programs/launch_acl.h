/* Launches by the ACL runtime of Ascend. */
#define LIBRARY "libascendcl.so"
#define FUNCTIONS(X)                                                                               \
    X(aclInit, (const char *))                                                                     \
    X(aclrtSetDevice, (int32_t))                                                                   \
    X(aclrtResetDevice, (int32_t))                                                                 \
    X(aclrtSynchronizeDevice, (void))                                                              \
    X(aclrtCreateStream, (void **))                                                                \
    X(aclrtDestroyStream, (void *))                                                                \
    X(aclmdlRICaptureBegin, (void *, int))                                                         \
    X(aclmdlRICaptureEnd, (void *, void **))                                                       \
    X(aclrtLaunchKernel, (void *, uint32_t, const void *, size_t, void *))                         \
    X(aclrtLaunchKernelV2, (void *, uint32_t, const void *, size_t, void *, void *))               \
    X(aclrtLaunchKernelWithConfig, (void *, uint32_t, void *, void *, void *, void *))             \
    X(aclrtLaunchKernelWithHostArgs, (void *, uint32_t, void *, void *, void *, size_t, void *,    \
                                      size_t))                                                     \
    X(aclrtLaunchKernelWithArgsArray, (void *, uint32_t, void *, void *, void **))                 \
    X(aclrtLaunchSIMTKernelWithArgsArray, (void *, struct threads, struct threads, size_t, void *, \
                                           void *, void **))                                       \
    X(aclrtLaunchSIMTKernelWithHostArgs, (void *, struct threads, struct threads, size_t, void *,  \
                                          void *, void *, size_t, void *, size_t))                 \
    X(aclmdlRIExecuteAsync, (void *, void *))                                                      \
    X(aclmdlRIExecute, (void *, int32_t))
struct threads { uint32_t x, y, z; }; /* dim3 */
FUNCTIONS(DECLARE)

static int begin(void) { return aclInit(NULL); }
static int use_device(int device) { return aclrtSetDevice(device); }
static int reset(void) { return aclrtResetDevice(0) || use_device(0); }
static int finish(void) { return aclrtSynchronizeDevice(); }
static int new_stream(void **made) { return aclrtCreateStream(made); }
static int drop_stream(void *made) { return aclrtDestroyStream(made); }
static int begin_capture(void *captured) { return aclmdlRICaptureBegin(captured, 0); }
static int end_capture(void *captured, void **made) { return aclmdlRICaptureEnd(captured, made); }

static int function[1]; /* its handle, and what it is given: anything */

static int kernel(unsigned blocks) {
    return aclrtLaunchKernel(function, blocks, function, sizeof function, NULL);
}
static int in_stream(unsigned blocks) {
    return aclrtLaunchKernel(function, blocks, function, sizeof function, stream);
}
static int second(unsigned blocks) {
    return aclrtLaunchKernelV2(function, blocks, function, sizeof function, NULL, stream);
}
static int configured(unsigned blocks) {
    return aclrtLaunchKernelWithConfig(function, blocks, stream, NULL, function, NULL);
}
static int with_host_arguments(unsigned blocks) {
    return aclrtLaunchKernelWithHostArgs(function, blocks, stream, NULL, function, sizeof function,
                                         NULL, 0);
}
static int with_array(unsigned blocks) {
    return aclrtLaunchKernelWithArgsArray(function, blocks, stream, NULL, NULL);
}
static int of_threads(unsigned blocks) {
    struct threads grid = {blocks, 1, 1}, block = {32, 1, 1};
    return aclrtLaunchSIMTKernelWithArgsArray(function, grid, block, 0, stream, NULL, NULL);
}
static int of_threads_with_host_arguments(unsigned blocks) {
    struct threads grid = {1, blocks, 1}, block = {32, 1, 1};
    return aclrtLaunchSIMTKernelWithHostArgs(function, grid, block, 0, stream, NULL, function,
                                             sizeof function, NULL, 0);
}
static int graph(unsigned unused) {
    (void)unused;
    return aclmdlRIExecuteAsync(executable, stream);
}
static int graph_awaited(unsigned unused) {
    (void)unused;
    return aclmdlRIExecute(executable, -1);
}

static const struct kind kinds[] = {
    {"kernel", kernel},
    {"in_stream", in_stream},
    {"second", second},
    {"configured", configured},
    {"with_host_arguments", with_host_arguments},
    {"with_array", with_array},
    {"of_threads", of_threads},
    {"of_threads_with_host_arguments", of_threads_with_host_arguments},
    {"graph", graph},
    {"graph_awaited", graph_awaited},
    {NULL, NULL},
};
