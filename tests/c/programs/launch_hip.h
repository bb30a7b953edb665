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
    X(hipLaunchKernel_spt, (const void *, struct dim3, struct dim3, void **, size_t, void *))      \
    X(hipLaunchCooperativeKernel, (const void *, struct dim3, struct dim3, void **, unsigned,      \
                                   void *))                                                        \
    X(hipLaunchCooperativeKernel_spt, (const void *, struct dim3, struct dim3, void **, unsigned,  \
                                       void *))                                                    \
    X(hipModuleLaunchCooperativeKernel, (void *, unsigned, unsigned, unsigned, unsigned, unsigned, \
                                         unsigned, unsigned, void *, void **))                     \
    X(hipLaunchKernelExC, (const struct launch *, const void *, void **))                          \
    X(hipDrvLaunchKernelEx, (const struct driver_launch *, void *, void **, void **))              \
    X(hipExtLaunchKernel, (const void *, struct dim3, struct dim3, void **, size_t, void *,        \
                           void *, void *, int))                                                   \
    X(hipExtModuleLaunchKernel, (void *, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t,         \
                                 uint32_t, size_t, void *, void **, void **, void *, void *,       \
                                 uint32_t))                                                        \
    X(EXT_MANGLED, (void *, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, size_t,    \
                    void *, void **, void **, void *, void *, uint32_t))                           \
    X(hipHccModuleLaunchKernel, (void *, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t,         \
                                 uint32_t, size_t, void *, void **, void **, void *, void *))      \
    X(HCC_MANGLED, (void *, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, size_t,    \
                    void *, void **, void **, void *, void *))                                     \
    X(hipLaunchCooperativeKernelMultiDevice, (const struct runtime_launch *, int, unsigned))       \
    X(hipExtLaunchMultiKernelMultiDevice, (const struct runtime_launch *, int, unsigned))          \
    X(hipModuleLaunchCooperativeKernelMultiDevice, (const struct module_launch *, unsigned,        \
                                                    unsigned))                                     \
    X(hipGraphLaunch, (void *, void *))                                                            \
    X(hipGraphLaunch_spt, (void *, void *))
/* As C++ names what has the same name in C. */
#define EXT_MANGLED                                                                                \
    _Z24hipExtModuleLaunchKernelP18ihipModuleSymbol_tjjjjjjmP12ihipStream_tPPvS4_P11ihipEvent_tS6_j
#define HCC_MANGLED                                                                                \
    _Z24hipHccModuleLaunchKernelP18ihipModuleSymbol_tjjjjjjmP12ihipStream_tPPvS4_P11ihipEvent_tS6_
struct dim3 {
    uint32_t x, y, z;
};
struct launch { /* hipLaunchConfig_t */
    struct dim3 grid, block;
    size_t shared_bytes;
    void *stream, *attributes;
    unsigned attribute_count;
};
struct driver_launch { /* HIP_LAUNCH_CONFIG */
    unsigned grid[3], block[3], shared_bytes;
    void *stream, *attributes;
    unsigned attribute_count;
};
struct runtime_launch { /* hipLaunchParams */
    void *function;
    struct dim3 grid, block;
    void **parameters;
    size_t shared_bytes;
    void *stream;
};
struct module_launch { /* hipFunctionLaunchParams */
    void *function;
    unsigned grid[3], block[3], shared_bytes;
    void *stream, **parameters;
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

#define GRID (struct dim3){blocks, 1, 1}, BLOCK
#define BLOCK (struct dim3){64, 1, 1}
#define MODULE_GRID blocks, 1, 1, 64, 1, 1
static int kernel(unsigned blocks) { return hipLaunchKernel(NULL, GRID, NULL, 0, NULL); }
static int kernel_spt(unsigned blocks) { return hipLaunchKernel_spt(NULL, GRID, NULL, 0, NULL); }
static int in_stream(unsigned blocks) { return hipLaunchKernel(NULL, GRID, NULL, 0, stream); }
static int of_module(unsigned blocks) {
    return hipModuleLaunchKernel(NULL, MODULE_GRID, 0, stream, NULL, NULL);
}
static int cooperative(unsigned blocks) {
    return hipLaunchCooperativeKernel(NULL, GRID, NULL, 0, stream);
}
static int cooperative_spt(unsigned blocks) {
    return hipLaunchCooperativeKernel_spt(NULL, GRID, NULL, 0, NULL);
}
static int cooperative_of_module(unsigned blocks) {
    return hipModuleLaunchCooperativeKernel(NULL, MODULE_GRID, 0, stream, NULL);
}
static int configured(unsigned blocks) {
    struct launch launch = {GRID, 0, stream, NULL, 0};
    return hipLaunchKernelExC(&launch, NULL, NULL);
}
static int configured_of_driver(unsigned blocks) {
    struct driver_launch launch = {{blocks, 1, 1}, {64, 1, 1}, 0, stream, NULL, 0};
    return hipDrvLaunchKernelEx(&launch, NULL, NULL, NULL);
}
static int extended(unsigned blocks) {
    return hipExtLaunchKernel(NULL, GRID, NULL, 0, stream, NULL, NULL, 0);
}
/* Of so many threads, not blocks. */
#define THREADS blocks * 64, 1, 1, 64, 1, 1
static int extended_of_module(unsigned blocks) {
    return hipExtModuleLaunchKernel(NULL, THREADS, 0, stream, NULL, NULL, NULL, NULL, 0);
}
static int extended_of_module_mangled(unsigned blocks) {
    return EXT_MANGLED(NULL, THREADS, 0, stream, NULL, NULL, NULL, NULL, 0);
}
static int extended_first_form(unsigned blocks) {
    return hipHccModuleLaunchKernel(NULL, THREADS, 0, stream, NULL, NULL, NULL, NULL);
}
static int extended_first_form_mangled(unsigned blocks) {
    return HCC_MANGLED(NULL, THREADS, 0, stream, NULL, NULL, NULL, NULL);
}
static int on_several_cards(unsigned blocks) {
    struct runtime_launch launch = {NULL, GRID, NULL, 0, stream};
    return hipExtLaunchMultiKernelMultiDevice(&launch, 1, 0);
}
static int cooperative_on_several_cards(unsigned blocks) {
    struct runtime_launch launch = {NULL, GRID, NULL, 0, stream};
    return hipLaunchCooperativeKernelMultiDevice(&launch, 1, 0);
}
static int of_module_on_several_cards(unsigned blocks) {
    struct module_launch launch = {NULL, {blocks, 1, 1}, {64, 1, 1}, 0, stream, NULL};
    return hipModuleLaunchCooperativeKernelMultiDevice(&launch, 1, 0);
}
static int graph(unsigned unused) {
    (void)unused;
    return hipGraphLaunch(executable, stream);
}
static int graph_spt(unsigned unused) {
    (void)unused;
    return hipGraphLaunch_spt(executable, NULL);
}

static const struct kind kinds[] = {
    {"kernel", kernel},
    {"kernel_spt", kernel_spt},
    {"in_stream", in_stream},
    {"of_module", of_module},
    {"cooperative", cooperative},
    {"cooperative_spt", cooperative_spt},
    {"cooperative_of_module", cooperative_of_module},
    {"configured", configured},
    {"configured_of_driver", configured_of_driver},
    {"extended", extended},
    {"extended_of_module", extended_of_module},
    {"extended_of_module_mangled", extended_of_module_mangled},
    {"extended_first_form", extended_first_form},
    {"extended_first_form_mangled", extended_first_form_mangled},
    {"on_several_cards", on_several_cards},
    {"cooperative_on_several_cards", cooperative_on_several_cards},
    {"of_module_on_several_cards", of_module_on_several_cards},
    {"graph", graph},
    {"graph_spt", graph_spt},
    {NULL, NULL},
};
