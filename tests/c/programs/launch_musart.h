/* Launches by Moore Threads' runtime. */
#define LIBRARY "libmusart.so"
#define FUNCTIONS(X)                                                                               \
    X(musaSetDevice, (int))                                                                        \
    X(musaDeviceReset, (void))                                                                     \
    X(musaDeviceSynchronize, (void))                                                               \
    X(musaStreamCreate, (void **))                                                                 \
    X(musaStreamDestroy, (void *))                                                                 \
    X(musaStreamBeginCapture, (void *, int))                                                       \
    X(musaStreamEndCapture, (void *, void **))                                                     \
    X(musaGraphInstantiate, (void **, void *, void **, char *, size_t))                            \
    X(musaLaunchKernel, (const void *, struct dim3, struct dim3, void **, size_t, void *))         \
    X(musaLaunchKernel_ptsz, (const void *, struct dim3, struct dim3, void **, size_t, void *))    \
    X(musaLaunchCooperativeKernel, (const void *, struct dim3, struct dim3, void **, size_t,       \
                                    void *))                                                       \
    X(musaLaunchCooperativeKernel_ptsz, (const void *, struct dim3, struct dim3, void **, size_t,  \
                                         void *))                                                  \
    X(musaLaunchKernelExC, (const struct launch *, const void *, void **))                         \
    X(musaLaunchKernelExC_ptsz, (const struct launch *, const void *, void **))                    \
    X(musaGraphLaunch, (void *, void *))                                                           \
    X(musaGraphLaunch_ptsz, (void *, void *))
struct dim3 {
    uint32_t x, y, z;
};
struct launch { /* musaLaunchConfig_t */
    struct dim3 grid, block;
    size_t shared_bytes;
    void *stream, *attributes;
    unsigned attribute_count;
};

FUNCTIONS(DECLARE)

static int begin(void) { return 0; }
static int use_device(int device) { return musaSetDevice(device); }
static int reset(void) { return musaDeviceReset(); }
static int finish(void) { return musaDeviceSynchronize(); }
static int new_stream(void **made) { return musaStreamCreate(made); }
static int drop_stream(void *made) { return musaStreamDestroy(made); }
static int begin_capture(void *captured) { return musaStreamBeginCapture(captured, 0); }
static int end_capture(void *captured, void **made) {
    void *recorded;
    int result = musaStreamEndCapture(captured, &recorded);
    return result != 0 ? result : musaGraphInstantiate(made, recorded, NULL, NULL, 0);
}

#define KERNEL(STREAM) NULL, (struct dim3){blocks, 1, 1}, (struct dim3){32, 1, 1}, NULL, 0, STREAM
static int kernel(unsigned blocks) { return musaLaunchKernel(KERNEL(NULL)); }
static int kernel_ptsz(unsigned blocks) { return musaLaunchKernel_ptsz(KERNEL(NULL)); }
static int in_stream(unsigned blocks) { return musaLaunchKernel(KERNEL(stream)); }
static int cooperative(unsigned blocks) { return musaLaunchCooperativeKernel(KERNEL(NULL)); }
static int cooperative_ptsz(unsigned blocks) {
    return musaLaunchCooperativeKernel_ptsz(KERNEL(NULL));
}
static int configured(unsigned blocks) {
    struct launch launch = {{blocks, 1, 1}, {32, 1, 1}, 0, NULL, NULL, 0};
    return musaLaunchKernelExC(&launch, NULL, NULL);
}
static int configured_ptsz(unsigned blocks) {
    struct launch launch = {{blocks, 1, 1}, {32, 1, 1}, 0, NULL, NULL, 0};
    return musaLaunchKernelExC_ptsz(&launch, NULL, NULL);
}
static int graph(unsigned unused) {
    (void)unused;
    return musaGraphLaunch(executable, stream);
}
static int graph_ptsz(unsigned unused) {
    (void)unused;
    return musaGraphLaunch_ptsz(executable, NULL);
}

static const struct kind kinds[] = {
    {"kernel", kernel},
    {"kernel_ptsz", kernel_ptsz},
    {"in_stream", in_stream},
    {"cooperative", cooperative},
    {"cooperative_ptsz", cooperative_ptsz},
    {"configured", configured},
    {"configured_ptsz", configured_ptsz},
    {"graph", graph},
    {"graph_ptsz", graph_ptsz},
    {NULL, NULL},
};
