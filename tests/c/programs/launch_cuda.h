/* Launches by CUDA's driver API. */
#define LIBRARY "libcuda.so.1"
#define GET_PROC_ADDRESS "cuGetProcAddress_v2"
#define GET_PROC_ADDRESS_HAS_STATUS 1
#define GRID unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **
#define FUNCTIONS(X)                                                                               \
    X(cuInit, (unsigned))                                                                          \
    X(cuDevicePrimaryCtxRetain, (void **, int))                                                    \
    X(cuDevicePrimaryCtxReset_v2, (int))                                                           \
    X(cuCtxSetCurrent, (void *))                                                                   \
    X(cuCtxSynchronize, (void))                                                                    \
    X(cuStreamCreate, (void **, unsigned))                                                         \
    X(cuStreamDestroy_v2, (void *))                                                                \
    X(cuStreamBeginCapture_v2, (void *, int))                                                      \
    X(cuStreamEndCapture, (void *, void **))                                                       \
    X(cuGraphInstantiateWithFlags, (void **, void *, uint64_t))                                    \
    X(cuLaunchKernel, (void *, GRID, void **))                                                     \
    X(cuLaunchKernel_ptsz, (void *, GRID, void **))                                                \
    X(cuLaunchKernelEx, (const struct launch *, void *, void **, void **))                         \
    X(cuLaunchKernelEx_ptsz, (const struct launch *, void *, void **, void **))                    \
    X(cuLaunchCooperativeKernel, (void *, GRID))                                                   \
    X(cuLaunchCooperativeKernel_ptsz, (void *, GRID))                                              \
    X(cuGraphLaunch, (void *, void *))                                                             \
    X(cuGraphLaunch_ptsz, (void *, void *))
struct launch {
    unsigned grid[3], block[3], shared_bytes;
    void *stream, *attributes;
    unsigned attribute_count;
};

FUNCTIONS(DECLARE)

static int begin(void) { return cuInit(0); }
static int use_device(int device) {
    void *context;
    int result = cuDevicePrimaryCtxRetain(&context, device);
    return result != 0 ? result : cuCtxSetCurrent(context);
}
static int reset(void) {
    return cuDevicePrimaryCtxReset_v2(0) || use_device(0);
}
static int finish(void) { return cuCtxSynchronize(); }
static int new_stream(void **stream) { return cuStreamCreate(stream, 0); }
static int drop_stream(void *stream) { return cuStreamDestroy_v2(stream); }
static int begin_capture(void *stream) { return cuStreamBeginCapture_v2(stream, 0); }
static int end_capture(void *stream, void **executable) {
    void *graph;
    int result = cuStreamEndCapture(stream, &graph);
    return result != 0 ? result : cuGraphInstantiateWithFlags(executable, graph, 0);
}

#define KERNEL(STREAM) blocks, 1, 1, 32, 1, 1, 0, STREAM, NULL
static int kernel(unsigned blocks) { return cuLaunchKernel(NULL, KERNEL(NULL), NULL); }
static int kernel_ptsz(unsigned blocks) { return cuLaunchKernel_ptsz(NULL, KERNEL(NULL), NULL); }
static int in_stream(unsigned blocks) { return cuLaunchKernel(NULL, KERNEL(stream), NULL); }
static int configured(unsigned blocks) {
    struct launch launch = {{blocks, 1, 1}, {32, 1, 1}, 0, NULL, NULL, 0};
    return cuLaunchKernelEx(&launch, NULL, NULL, NULL);
}
static int configured_ptsz(unsigned blocks) {
    struct launch launch = {{blocks, 1, 1}, {32, 1, 1}, 0, NULL, NULL, 0};
    return cuLaunchKernelEx_ptsz(&launch, NULL, NULL, NULL);
}
static int cooperative(unsigned blocks) { return cuLaunchCooperativeKernel(NULL, KERNEL(NULL)); }
static int cooperative_ptsz(unsigned blocks) {
    return cuLaunchCooperativeKernel_ptsz(NULL, KERNEL(NULL));
}
static int graph(unsigned unused) {
    (void)unused;
    return cuGraphLaunch(executable, stream);
}
static int graph_ptsz(unsigned unused) {
    (void)unused;
    return cuGraphLaunch_ptsz(executable, NULL);
}

static const struct kind kinds[] = {
    {"kernel", kernel},
    {"kernel_ptsz", kernel_ptsz},
    {"in_stream", in_stream},
    {"configured", configured},
    {"configured_ptsz", configured_ptsz},
    {"cooperative", cooperative},
    {"cooperative_ptsz", cooperative_ptsz},
    {"graph", graph},
    {"graph_ptsz", graph_ptsz},
    {NULL, NULL},
};
