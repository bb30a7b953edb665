/* Launches by Cambricon's driver. */
#define LIBRARY "libcndrv.so"
#define FUNCTIONS(X)                                                                               \
    X(cnInit, (unsigned))                                                                          \
    X(cnDeviceGet, (uint64_t *, int))                                                              \
    X(cnSharedContextAcquire, (void **, uint64_t))                                                 \
    X(cnSharedContextReset, (uint64_t))                                                            \
    X(cnCtxSetCurrent, (void *))                                                                   \
    X(cnCtxSync, (void))                                                                           \
    X(cnCreateQueue, (void **, unsigned))                                                          \
    X(cnDestroyQueue, (void *))                                                                    \
    X(cnQueueBeginCapture, (void *, int))                                                          \
    X(cnQueueEndCapture, (void *, void **))                                                        \
    X(cnTaskTopoInstantiate, (void **, void *, void **, char *, size_t))                           \
    X(cnGetExportFunction, (const char *, const void **))                                          \
    X(cnInvokeKernel, (void *, unsigned, unsigned, unsigned, int, unsigned, void *, void **,       \
                       void **))                                                                   \
    X(cnInvokeKernelEx, (const struct invocation *, void *, void **, void **))                     \
    X(cnTaskTopoEntityInvoke, (void *, void *))
struct invocation { /* CNinvokeConfig */
    unsigned x, y, z;
    int class;
    unsigned reserved;
    void *queue, *attributes;
    unsigned attribute_count;
};

FUNCTIONS(DECLARE)

static int begin(void) { return cnInit(0); }
static int use_device(int number) {
    uint64_t device;
    void *context;
    int result = cnDeviceGet(&device, number);
    result = result != 0 ? result : cnSharedContextAcquire(&context, device);
    return result != 0 ? result : cnCtxSetCurrent(context);
}
static int reset(void) { return cnSharedContextReset(0) || use_device(0); }
static int finish(void) { return cnCtxSync(); }
static int new_stream(void **made) { return cnCreateQueue(made, 0); }
static int drop_stream(void *made) { return cnDestroyQueue(made); }
static int begin_capture(void *captured) { return cnQueueBeginCapture(captured, 0); }
static int end_capture(void *captured, void **made) {
    void *topo;
    int result = cnQueueEndCapture(captured, &topo);
    return result != 0 ? result : cnTaskTopoInstantiate(made, topo, NULL, NULL, 0);
}

#define KERNEL(QUEUE) NULL, blocks, 1, 1, 1, 0, QUEUE, NULL, NULL
static int kernel(unsigned blocks) { return cnInvokeKernel(KERNEL(NULL)); }
static int in_stream(unsigned blocks) { return cnInvokeKernel(KERNEL(stream)); }
static int in_own(unsigned blocks) { return cnInvokeKernel(KERNEL((void *)1)); }
static int in_legacy(unsigned blocks) { return cnInvokeKernel(KERNEL((void *)2)); }
static int configured(unsigned blocks) {
    struct invocation invocation = {blocks, 1, 1, 1, 0, stream, NULL, 0};
    return cnInvokeKernelEx(&invocation, NULL, NULL, NULL);
}
static int exported(unsigned blocks) {
    int (*invoke)(void *, unsigned, unsigned, unsigned, int, unsigned, void *, void **, void **);
    int result = cnGetExportFunction("cnInvokeKernel", (const void **)(void *)&invoke);
    return result != 0 ? result : invoke(KERNEL(stream));
}
static int graph(unsigned unused) {
    (void)unused;
    return cnTaskTopoEntityInvoke(executable, stream);
}

static const struct kind kinds[] = {
    {"kernel", kernel},
    {"in_stream", in_stream},
    {"in_own", in_own},
    {"in_legacy", in_legacy},
    {"configured", configured},
    {"exported", exported},
    {"graph", graph},
    {NULL, NULL},
};
