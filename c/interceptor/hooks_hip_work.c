/* HIP: launches of kernels and graphs. */
#include "graphs.h"
#include "hooks_hip.h"

HCS_CALLED(hipEventCreateWithFlags);
HCS_CALLED(hipEventDestroy);
HCS_CALLED(hipEventRecord);
HCS_CALLED(hipEventQuery);
HCS_CALLED(hipEventElapsedTime);
HCS_CALLED(hipStreamIsCapturing);
HCS_CALLED(hipThreadExchangeStreamCaptureMode);

static const struct hcs_share_runtime share_runtime = {
    .create = &find_hipEventCreateWithFlags,
    .destroy = &find_hipEventDestroy,
    .record = &find_hipEventRecord,
    .query = &find_hipEventQuery,
    .elapsed = &find_hipEventElapsedTime,
    .capturing = &find_hipStreamIsCapturing,
    .mode = &find_hipThreadExchangeStreamCaptureMode,
    .not_ready = HCS_SHARE_NOT_READY,
    .own_stream = HCS_SHARE_OWN_STREAM,
};

/* A card stands for its context: events end with a reset. */
static struct hcs_share_place in_stream(void *stream) {
    int card = hcs_hip_current_card();
    return (struct hcs_share_place){&share_runtime, card, (unsigned)card + 1, stream};
}

static struct hcs_share_place in_own(void *stream) { /* the _spt forms */
    return in_stream(stream != NULL ? stream : HCS_SHARE_OWN_STREAM);
}

struct launch { /* hipLaunchConfig_t; HIP_LAUNCH_CONFIG has its stream at the same place */
    unsigned grid[3], block[3];
    size_t shared_bytes;
    void *stream, *attributes;
    unsigned attribute_count;
};
/* Without one there is nothing to launch, and the runtime will say so. */
static void *stream_of(const struct launch *launch) {
    return launch != NULL ? launch->stream : NULL;
}

struct dim3 {
    uint32_t x, y, z;
};
HCS_LAUNCH(hipLaunchKernel,
           (const void *function, struct dim3 grid, struct dim3 block, void **parameters,
            size_t shared_bytes, void *stream),
           (function, grid, block, parameters, shared_bytes, stream), in_stream(stream));
HCS_LAUNCH(hipModuleLaunchKernel,
           (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
            unsigned block_y, unsigned block_z, unsigned shared_bytes, void *stream,
            void **parameters, void **extra),
           (function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream,
            parameters, extra),
           in_stream(stream));
HCS_LAUNCH(hipLaunchKernel_spt,
           (const void *function, struct dim3 grid, struct dim3 block, void **parameters,
            size_t shared_bytes, void *stream),
           (function, grid, block, parameters, shared_bytes, stream), in_own(stream));
HCS_LAUNCH(hipLaunchCooperativeKernel,
           (const void *function, struct dim3 grid, struct dim3 block, void **parameters,
            unsigned shared_bytes, void *stream),
           (function, grid, block, parameters, shared_bytes, stream), in_stream(stream));
HCS_LAUNCH(hipLaunchCooperativeKernel_spt,
           (const void *function, struct dim3 grid, struct dim3 block, void **parameters,
            unsigned shared_bytes, void *stream),
           (function, grid, block, parameters, shared_bytes, stream), in_own(stream));
HCS_LAUNCH(hipModuleLaunchCooperativeKernel,
           (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
            unsigned block_y, unsigned block_z, unsigned shared_bytes, void *stream,
            void **parameters),
           (function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream,
            parameters),
           in_stream(stream));
HCS_LAUNCH(hipLaunchKernelExC,
           (const struct launch *launch, const void *function, void **parameters),
           (launch, function, parameters), in_stream(stream_of(launch)));
HCS_LAUNCH(hipDrvLaunchKernelEx,
           (const struct launch *launch, void *function, void **parameters, void **extra),
           (launch, function, parameters, extra), in_stream(stream_of(launch)));
HCS_LAUNCH(hipExtLaunchKernel,
           (const void *function, struct dim3 grid, struct dim3 block, void **parameters,
            size_t shared_bytes, void *stream, void *start, void *stop, int flags),
           (function, grid, block, parameters, shared_bytes, stream, start, stop, flags),
           in_stream(stream));

/* What counts threads instead of blocks. Before ROCm 6 these were C++ functions: what was built for
 * that asks for the mangled names, which newer libraries still have. */
#define EXT_MANGLED                                                                               \
    _Z24hipExtModuleLaunchKernelP18ihipModuleSymbol_tjjjjjjmP12ihipStream_tPPvS4_P11ihipEvent_tS6_j
#define HCC_MANGLED                                                                               \
    _Z24hipHccModuleLaunchKernelP18ihipModuleSymbol_tjjjjjjmP12ihipStream_tPPvS4_P11ihipEvent_tS6_
#define OF_THREADS(FUNCTION)                                                                      \
    HCS_LAUNCH(FUNCTION,                                                                          \
               (void *function, uint32_t work_x, uint32_t work_y, uint32_t work_z,                \
                uint32_t block_x, uint32_t block_y, uint32_t block_z, size_t shared_bytes,        \
                void *stream, void **parameters, void **extra, void *start, void *stop,           \
                uint32_t flags),                                                                  \
               (function, work_x, work_y, work_z, block_x, block_y, block_z, shared_bytes,        \
                stream, parameters, extra, start, stop, flags),                                   \
               in_stream(stream))
#define OF_THREADS_FIRST_FORM(FUNCTION)                                                           \
    HCS_LAUNCH(FUNCTION,                                                                          \
               (void *function, uint32_t work_x, uint32_t work_y, uint32_t work_z,                \
                uint32_t block_x, uint32_t block_y, uint32_t block_z, size_t shared_bytes,        \
                void *stream, void **parameters, void **extra, void *start, void *stop),          \
               (function, work_x, work_y, work_z, block_x, block_y, block_z, shared_bytes,        \
                stream, parameters, extra, start, stop),                                          \
               in_stream(stream))
OF_THREADS(hipExtModuleLaunchKernel);
OF_THREADS(EXT_MANGLED);
OF_THREADS_FIRST_FORM(hipHccModuleLaunchKernel);
OF_THREADS_FIRST_FORM(HCC_MANGLED);

/* One launch on several cards: it counts as one, and is held to the share of the first. */
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
#define ON_SEVERAL_CARDS(FUNCTION, LAUNCH, COUNT)                                                 \
    HCS_LAUNCH(FUNCTION, (const struct LAUNCH *launches, COUNT count, unsigned flags),            \
               (launches, count, flags),                                                          \
               in_stream(launches != NULL && count > 0 ? launches->stream : NULL))
ON_SEVERAL_CARDS(hipLaunchCooperativeKernelMultiDevice, runtime_launch, int);
ON_SEVERAL_CARDS(hipExtLaunchMultiKernelMultiDevice, runtime_launch, int);
ON_SEVERAL_CARDS(hipModuleLaunchCooperativeKernelMultiDevice, module_launch, unsigned);

/* A graph's launch may take memory (graphs.h). */
HCS_LAUNCH_AROUND(hipGraphLaunch, (void *executable, void *stream), (executable, stream),
                  in_stream(stream), hcs_graph_launching(executable), hcs_graph_launched());
HCS_LAUNCH_AROUND(hipGraphLaunch_spt, (void *executable, void *stream), (executable, stream),
                  in_own(stream), hcs_graph_launching(executable), hcs_graph_launched());
