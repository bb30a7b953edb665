/* Launches by Moore Threads' driver. */
#define LIBRARY "libmusa.so"
#define GET_PROC_ADDRESS "muGetProcAddress"
#define GET_PROC_ADDRESS_HAS_STATUS 0
#define GRID unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **
#define FUNCTIONS(X)                                                                               \
    X(muInit, (unsigned))                                                                          \
    X(muDevicePrimaryCtxRetain, (void **, int))                                                    \
    X(muDevicePrimaryCtxReset_v2, (int))                                                           \
    X(muCtxSetCurrent, (void *))                                                                   \
    X(muCtxSynchronize, (void))                                                                    \
    X(muStreamCreate, (void **, unsigned))                                                         \
    X(muStreamDestroy_v2, (void *))                                                                \
    X(muStreamBeginCapture, (void *, int))                                                         \
    X(muStreamEndCapture, (void *, void **))                                                       \
    X(muGraphInstantiateWithFlags, (void **, void *, uint64_t))                                    \
    X(muLaunchKernel, (void *, GRID, void **))                                                     \
    X(muLaunchKernel_ptsz, (void *, GRID, void **))                                                \
    X(muLaunchKernelEx, (const struct launch *, void *, void **, void **))                         \
    X(muLaunchKernelEx_ptsz, (const struct launch *, void *, void **, void **))                    \
    X(muLaunchCooperativeKernel, (void *, GRID))                                                   \
    X(muLaunchCooperativeKernel_ptsz, (void *, GRID))                                              \
    X(muGraphLaunch, (void *, void *))                                                             \
    X(muGraphLaunch_ptsz, (void *, void *))
struct launch {
    unsigned grid[3], block[3], shared_bytes;
    void *stream, *attributes;
    unsigned attribute_count;
};

FUNCTIONS(DECLARE)

static int begin(void) { return muInit(0); }
static int use_device(int device) {
    void *context;
    int result = muDevicePrimaryCtxRetain(&context, device);
    return result != 0 ? result : muCtxSetCurrent(context);
}
static int reset(void) {
    return muDevicePrimaryCtxReset_v2(0) || use_device(0);
}
static int finish(void) { return muCtxSynchronize(); }
static int new_stream(void **stream) { return muStreamCreate(stream, 0); }
static int drop_stream(void *stream) { return muStreamDestroy_v2(stream); }
static int begin_capture(void *stream) { return muStreamBeginCapture(stream, 0); }
static int end_capture(void *stream, void **executable) {
    void *graph;
    int result = muStreamEndCapture(stream, &graph);
    return result != 0 ? result : muGraphInstantiateWithFlags(executable, graph, 0);
}

#define KERNEL(STREAM) blocks, 1, 1, 32, 1, 1, 0, STREAM, NULL
static int kernel(unsigned blocks) { return muLaunchKernel(NULL, KERNEL(NULL), NULL); }
static int kernel_ptsz(unsigned blocks) { return muLaunchKernel_ptsz(NULL, KERNEL(NULL), NULL); }
static int in_stream(unsigned blocks) { return muLaunchKernel(NULL, KERNEL(stream), NULL); }
static int configured(unsigned blocks) {
    struct launch launch = {{blocks, 1, 1}, {32, 1, 1}, 0, NULL, NULL, 0};
    return muLaunchKernelEx(&launch, NULL, NULL, NULL);
}
static int configured_ptsz(unsigned blocks) {
    struct launch launch = {{blocks, 1, 1}, {32, 1, 1}, 0, NULL, NULL, 0};
    return muLaunchKernelEx_ptsz(&launch, NULL, NULL, NULL);
}
static int cooperative(unsigned blocks) { return muLaunchCooperativeKernel(NULL, KERNEL(NULL)); }
static int cooperative_ptsz(unsigned blocks) {
    return muLaunchCooperativeKernel_ptsz(NULL, KERNEL(NULL));
}
static int graph(unsigned unused) {
    (void)unused;
    return muGraphLaunch(executable, stream);
}
static int graph_ptsz(unsigned unused) {
    (void)unused;
    return muGraphLaunch_ptsz(executable, NULL);
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
