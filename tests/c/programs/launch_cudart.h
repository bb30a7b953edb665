/* Launches by CUDA's runtime API. */
#define LIBRARY "libcudart.so.12"
#define KERNEL_ARGUMENTS (const void *, struct dim3, struct dim3, void **, size_t, void *)
#define FUNCTIONS(X)                                                                               \
    X(cudaSetDevice, (int))                                                                        \
    X(cudaDeviceReset, (void))                                                                     \
    X(cudaDeviceSynchronize, (void))                                                               \
    X(cudaStreamCreate, (void **))                                                                 \
    X(cudaStreamDestroy, (void *))                                                                 \
    X(cudaStreamBeginCapture, (void *, int))                                                       \
    X(cudaStreamEndCapture, (void *, void **))                                                     \
    X(cudaGraphInstantiate, (void **, void *, unsigned long long))                                 \
    X(cudaLaunchKernel, KERNEL_ARGUMENTS)                                                          \
    X(cudaLaunchKernel_ptsz, KERNEL_ARGUMENTS)                                                     \
    X(cudaLaunchKernelExC, (const struct launch *, const void *, void **))                         \
    X(cudaLaunchKernelExC_ptsz, (const struct launch *, const void *, void **))                    \
    X(cudaLaunchCooperativeKernel, KERNEL_ARGUMENTS)                                               \
    X(cudaLaunchCooperativeKernel_ptsz, KERNEL_ARGUMENTS)                                          \
    X(cudaGraphLaunch, (void *, void *))                                                           \
    X(cudaGraphLaunch_ptsz, (void *, void *))
struct dim3 {
    unsigned x, y, z;
};
struct launch { /* cudaLaunchConfig_t */
    struct dim3 grid, block;
    size_t shared_bytes;
    void *stream, *attributes;
    unsigned attribute_count;
};

FUNCTIONS(DECLARE)

static int begin(void) { return 0; }
static int use_device(int device) { return cudaSetDevice(device); }
static int reset(void) { return cudaDeviceReset(); }
static int finish(void) { return cudaDeviceSynchronize(); }
static int new_stream(void **made) { return cudaStreamCreate(made); }
static int drop_stream(void *made) { return cudaStreamDestroy(made); }
static int begin_capture(void *captured) { return cudaStreamBeginCapture(captured, 0); }
static int end_capture(void *captured, void **made) {
    void *graph;
    int result = cudaStreamEndCapture(captured, &graph);
    return result != 0 ? result : cudaGraphInstantiate(made, graph, 0);
}

#define KERNEL(STREAM) NULL, (struct dim3){blocks, 1, 1}, (struct dim3){32, 1, 1}, NULL, 0, STREAM
static int kernel(unsigned blocks) { return cudaLaunchKernel(KERNEL(NULL)); }
static int kernel_ptsz(unsigned blocks) { return cudaLaunchKernel_ptsz(KERNEL(NULL)); }
static int in_stream(unsigned blocks) { return cudaLaunchKernel(KERNEL(stream)); }
static int configured(unsigned blocks) {
    struct launch launch = {{blocks, 1, 1}, {32, 1, 1}, 0, NULL, NULL, 0};
    return cudaLaunchKernelExC(&launch, NULL, NULL);
}
static int configured_ptsz(unsigned blocks) {
    struct launch launch = {{blocks, 1, 1}, {32, 1, 1}, 0, NULL, NULL, 0};
    return cudaLaunchKernelExC_ptsz(&launch, NULL, NULL);
}
static int cooperative(unsigned blocks) { return cudaLaunchCooperativeKernel(KERNEL(NULL)); }
static int cooperative_ptsz(unsigned blocks) {
    return cudaLaunchCooperativeKernel_ptsz(KERNEL(NULL));
}
static int graph(unsigned unused) {
    (void)unused;
    return cudaGraphLaunch(executable, stream);
}
static int graph_ptsz(unsigned unused) {
    (void)unused;
    return cudaGraphLaunch_ptsz(executable, NULL);
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
