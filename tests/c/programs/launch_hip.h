/* Launches by HIP. */
#define LIBRARY "libamdhip64.so"
#define FUNCTIONS(X)                                                                               \
    X(hipInit, (unsigned))                                                                         \
    X(hipSetDevice, (int))                                                                         \
    X(hipDeviceReset, (void))                                                                      \
    X(hipDeviceSynchronize, (void))                                                                \
    X(hipStreamCreate, (void **))                                                                  \
    X(hipStreamDestroy, (void *))                                                                  \
    X(hipStreamBeginCapture, (void *, int))                                                        \
    X(hipStreamEndCapture, (void *, void **))                                                      \
    X(hipGraphInstantiateWithFlags, (void **, void *, uint64_t))                                   \
    X(hipLaunchKernel, (const void *, struct dim3, struct dim3, void **, size_t, void *))          \
    X(hipModuleLaunchKernel, (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,  \
                              unsigned, void *, void **, void **))                                 \
    X(hipGraphLaunch, (void *, void *))
struct dim3 {
    uint32_t x, y, z;
};

FUNCTIONS(DECLARE)

static int begin(void) { return hipInit(0); }
static int use_device(int device) { return hipSetDevice(device); }
static int reset(void) { return hipDeviceReset(); }
static int finish(void) { return hipDeviceSynchronize(); }
static int new_stream(void **made) { return hipStreamCreate(made); }
static int drop_stream(void *made) { return hipStreamDestroy(made); }
static int begin_capture(void *captured) { return hipStreamBeginCapture(captured, 0); }
static int end_capture(void *captured, void **made) {
    void *recorded;
    int result = hipStreamEndCapture(captured, &recorded);
    return result != 0 ? result : hipGraphInstantiateWithFlags(made, recorded, 0);
}

static int launch_into(void *target, unsigned blocks) {
    struct dim3 grid = {blocks, 1, 1}, block = {64, 1, 1};
    return hipLaunchKernel(NULL, grid, block, NULL, 0, target);
}
static int kernel(unsigned blocks) { return launch_into(NULL, blocks); }
static int in_stream(unsigned blocks) { return launch_into(stream, blocks); }
static int of_module(unsigned blocks) {
    return hipModuleLaunchKernel(NULL, blocks, 1, 1, 64, 1, 1, 0, stream, NULL, NULL);
}
static int graph(unsigned unused) {
    (void)unused;
    return hipGraphLaunch(executable, stream);
}

static const struct kind kinds[] = {
    {"kernel", kernel}, {"in_stream", in_stream}, {"of_module", of_module},
    {"graph", graph},   {NULL, NULL},
};
