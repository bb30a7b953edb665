/* Launches by CUDA's driver API, or by one that is shaped after it: DRIVER(NAME) is what it calls a
 * function, and BEGIN_CAPTURE its name for the one whose version differs. */
#define GRID unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **
#define FUNCTIONS(X)                                                                               \
    X(DRIVER(Init), (unsigned))                                                                    \
    X(DRIVER(DevicePrimaryCtxRetain), (void **, int))                                              \
    X(DRIVER(DevicePrimaryCtxReset_v2), (int))                                                     \
    X(DRIVER(CtxSetCurrent), (void *))                                                             \
    X(DRIVER(CtxSynchronize), (void))                                                              \
    X(DRIVER(StreamCreate), (void **, unsigned))                                                   \
    X(DRIVER(StreamDestroy_v2), (void *))                                                          \
    X(BEGIN_CAPTURE, (void *, int))                                                                \
    X(DRIVER(StreamEndCapture), (void *, void **))                                                 \
    X(DRIVER(GraphInstantiateWithFlags), (void **, void *, uint64_t))                              \
    X(DRIVER(LaunchKernel), (void *, GRID, void **))                                               \
    X(DRIVER(LaunchKernel_ptsz), (void *, GRID, void **))                                          \
    X(DRIVER(LaunchKernelEx), (const struct launch *, void *, void **, void **))                   \
    X(DRIVER(LaunchKernelEx_ptsz), (const struct launch *, void *, void **, void **))              \
    X(DRIVER(LaunchCooperativeKernel), (void *, GRID))                                             \
    X(DRIVER(LaunchCooperativeKernel_ptsz), (void *, GRID))                                        \
    X(DRIVER(GraphLaunch), (void *, void *))                                                       \
    X(DRIVER(GraphLaunch_ptsz), (void *, void *))                                                  \
    OLDER_LAUNCHES(X)
#ifndef OLDER_LAUNCHES /* those that only CUDA has */
#define OLDER_LAUNCHES(X)
#endif
struct launch {
    unsigned grid[3], block[3], shared_bytes;
    void *stream, *attributes;
    unsigned attribute_count;
};
struct cooperative {
    void *function;
    unsigned grid[3], block[3], shared_bytes;
    void *stream, **parameters;
};

FUNCTIONS(DECLARE)

static int begin(void) { return DRIVER(Init)(0); }
static int use_device(int device) {
    void *context;
    int result = DRIVER(DevicePrimaryCtxRetain)(&context, device);
    return result != 0 ? result : DRIVER(CtxSetCurrent)(context);
}
static int reset(void) { return DRIVER(DevicePrimaryCtxReset_v2)(0) || use_device(0); }
static int finish(void) { return DRIVER(CtxSynchronize)(); }
static int new_stream(void **stream) { return DRIVER(StreamCreate)(stream, 0); }
static int drop_stream(void *stream) { return DRIVER(StreamDestroy_v2)(stream); }
static int begin_capture(void *stream) { return BEGIN_CAPTURE(stream, 0); }
static int end_capture(void *stream, void **executable) {
    void *graph;
    int result = DRIVER(StreamEndCapture)(stream, &graph);
    return result != 0 ? result : DRIVER(GraphInstantiateWithFlags)(executable, graph, 0);
}

#define KERNEL(STREAM) blocks, 1, 1, 32, 1, 1, 0, STREAM, NULL
static int kernel(unsigned blocks) { return DRIVER(LaunchKernel)(NULL, KERNEL(NULL), NULL); }
static int kernel_ptsz(unsigned blocks) {
    return DRIVER(LaunchKernel_ptsz)(NULL, KERNEL(NULL), NULL);
}
static int in_stream(unsigned blocks) { return DRIVER(LaunchKernel)(NULL, KERNEL(stream), NULL); }
static int configured(unsigned blocks) {
    struct launch launch = {{blocks, 1, 1}, {32, 1, 1}, 0, NULL, NULL, 0};
    return DRIVER(LaunchKernelEx)(&launch, NULL, NULL, NULL);
}
static int configured_ptsz(unsigned blocks) {
    struct launch launch = {{blocks, 1, 1}, {32, 1, 1}, 0, NULL, NULL, 0};
    return DRIVER(LaunchKernelEx_ptsz)(&launch, NULL, NULL, NULL);
}
static int cooperative(unsigned blocks) {
    return DRIVER(LaunchCooperativeKernel)(NULL, KERNEL(NULL));
}
static int cooperative_ptsz(unsigned blocks) {
    return DRIVER(LaunchCooperativeKernel_ptsz)(NULL, KERNEL(NULL));
}
#ifdef HAS_OLDER_LAUNCHES
static int on_several_cards(unsigned blocks) {
    struct cooperative launches[] = {{NULL, {blocks, 1, 1}, {32, 1, 1}, 0, stream, NULL}};
    return cuLaunchCooperativeKernelMultiDevice(launches, 1, 0);
}
static int grid(unsigned blocks) {
    return blocks == 1 ? cuLaunch(NULL) : cuLaunchGrid(NULL, (int)blocks, 1);
}
static int grid_in_stream(unsigned blocks) {
    return cuLaunchGridAsync(NULL, 1, (int)blocks, stream);
}
#endif
static int graph(unsigned unused) {
    (void)unused;
    return DRIVER(GraphLaunch)(executable, stream);
}
static int graph_ptsz(unsigned unused) {
    (void)unused;
    return DRIVER(GraphLaunch_ptsz)(executable, NULL);
}

static const struct kind kinds[] = {
    {"kernel", kernel},
    {"kernel_ptsz", kernel_ptsz},
    {"in_stream", in_stream},
    {"configured", configured},
    {"configured_ptsz", configured_ptsz},
    {"cooperative", cooperative},
    {"cooperative_ptsz", cooperative_ptsz},
#ifdef HAS_OLDER_LAUNCHES
    {"on_several_cards", on_several_cards},
    {"grid", grid},
    {"grid_in_stream", grid_in_stream},
#endif
    {"graph", graph},
    {"graph_ptsz", graph_ptsz},
    {NULL, NULL},
};
