/* Launches by Cambricon's runtime. */
#define LIBRARY "libcnrt.so"
#define FUNCTIONS(X)                                                                               \
    X(cnrtSetDevice, (int))                                                                        \
    X(cnrtDeviceReset, (void))                                                                     \
    X(cnrtSyncDevice, (void))                                                                      \
    X(cnrtQueueCreate, (void **))                                                                  \
    X(cnrtQueueDestroy, (void *))                                                                  \
    X(cnrtQueueBeginCapture, (void *, int))                                                        \
    X(cnrtQueueEndCapture, (void *, void **))                                                      \
    X(cnrtTaskTopoInstantiate, (void **, void *, void **, char *, size_t))                         \
    X(cnrtInvokeKernel, (const void *, struct dim3, int, void **, size_t, void *))                 \
    X(cnrtTaskTopoEntityInvoke, (void *, void *))
struct dim3 {
    unsigned x, y, z;
};

FUNCTIONS(DECLARE)

static int begin(void) { return 0; }
static int use_device(int device) { return cnrtSetDevice(device); }
static int reset(void) { return cnrtDeviceReset() || use_device(0); }
static int finish(void) { return cnrtSyncDevice(); }
static int new_stream(void **made) { return cnrtQueueCreate(made); }
static int drop_stream(void *made) { return cnrtQueueDestroy(made); }
static int begin_capture(void *captured) { return cnrtQueueBeginCapture(captured, 0); }
static int end_capture(void *captured, void **made) {
    void *topo;
    int result = cnrtQueueEndCapture(captured, &topo);
    return result != 0 ? result : cnrtTaskTopoInstantiate(made, topo, NULL, NULL, 0);
}

static int launch_into(void *queue, unsigned blocks) {
    struct dim3 dim = {blocks, 1, 1};
    return cnrtInvokeKernel(NULL, dim, 1, NULL, 0, queue);
}
static int kernel(unsigned blocks) { return launch_into(NULL, blocks); }
static int in_stream(unsigned blocks) { return launch_into(stream, blocks); }
static int graph(unsigned unused) {
    (void)unused;
    return cnrtTaskTopoEntityInvoke(executable, stream);
}

static const struct kind kinds[] = {
    {"kernel", kernel},
    {"in_stream", in_stream},
    {"graph", graph},
    {NULL, NULL},
};
