/* CUDA: launches of kernels and graphs. */
#include "graphs.h"
#include "hooks_cuda.h"

HCS_CALLED(cuEventCreate);
HCS_CALLED(cuEventDestroy_v2);
HCS_CALLED(cuEventRecord);
HCS_CALLED(cuEventQuery);
HCS_CALLED(cuEventElapsedTime);
HCS_CALLED(cuStreamIsCapturing);
HCS_CALLED(cuThreadExchangeStreamCaptureMode);

static const struct hcs_share_runtime share_runtime = {
    .create = &find_cuEventCreate,
    .destroy = &find_cuEventDestroy_v2,
    .record = &find_cuEventRecord,
    .query = &find_cuEventQuery,
    .elapsed = &find_cuEventElapsedTime,
    .capturing = &find_cuStreamIsCapturing,
    .mode = &find_cuThreadExchangeStreamCaptureMode,
    .not_ready = HCS_SHARE_NOT_READY,
    .own_stream = HCS_SHARE_OWN_STREAM,
};

static struct hcs_share_place in_stream(void *stream, void *what_null_means) {
    struct hcs_cuda_place place = hcs_cuda_current();
    return (struct hcs_share_place){&share_runtime, place.card, place.context,
                                    stream != NULL ? stream : what_null_means};
}
static struct hcs_share_place in_legacy(void *stream) {
    return in_stream(stream, HCS_SHARE_LEGACY_STREAM);
}
static struct hcs_share_place in_own(void *stream) {
    return in_stream(stream, HCS_SHARE_OWN_STREAM);
}

struct launch { /* CUlaunchConfig */
    unsigned grid[3], block[3], shared_bytes;
    void *stream, *attributes;
    unsigned attribute_count;
};
/* Without one there is nothing to launch, and the driver will say so. */
static void *stream_of(const struct launch *launch) {
    return launch != NULL ? launch->stream : NULL;
}

HCS_LAUNCH(cuLaunchKernel,
           (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
            unsigned block_y, unsigned block_z, unsigned shared_bytes, void *stream,
            void **parameters, void **extra),
           (function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream,
            parameters, extra),
           in_legacy(stream));
HCS_LAUNCH(cuLaunchKernel_ptsz,
           (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
            unsigned block_y, unsigned block_z, unsigned shared_bytes, void *stream,
            void **parameters, void **extra),
           (function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream,
            parameters, extra),
           in_own(stream));
HCS_LAUNCH(cuLaunchKernelEx,
           (const struct launch *launch, void *function, void **parameters, void **extra),
           (launch, function, parameters, extra), in_legacy(stream_of(launch)));
HCS_LAUNCH(cuLaunchKernelEx_ptsz,
           (const struct launch *launch, void *function, void **parameters, void **extra),
           (launch, function, parameters, extra), in_own(stream_of(launch)));
HCS_LAUNCH(cuLaunchCooperativeKernel,
           (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
            unsigned block_y, unsigned block_z, unsigned shared_bytes, void *stream,
            void **parameters),
           (function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream,
            parameters),
           in_legacy(stream));
HCS_LAUNCH(cuLaunchCooperativeKernel_ptsz,
           (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
            unsigned block_y, unsigned block_z, unsigned shared_bytes, void *stream,
            void **parameters),
           (function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes, stream,
            parameters),
           in_own(stream));

/* The first CUDA's, whose blocks and parameters are the function's. */
HCS_LAUNCH(cuLaunch, (void *function), (function), in_legacy(NULL));
HCS_LAUNCH(cuLaunchGrid, (void *function, int width, int height), (function, width, height),
           in_legacy(NULL));
HCS_LAUNCH(cuLaunchGridAsync, (void *function, int width, int height, void *stream),
           (function, width, height, stream), in_legacy(stream));

struct cooperative_launch { /* CUDA_LAUNCH_PARAMS */
    void *function;
    unsigned grid[3], block[3], shared_bytes;
    void *stream, **parameters;
};
static void *first_stream_of(const struct cooperative_launch *launches, unsigned count) {
    return launches != NULL && count > 0 ? launches->stream : NULL;
}

/* One launch on several cards, which is not in CUDA 13 any more: it counts as one, and is held to
 * the share of the first. */
HCS_LAUNCH(cuLaunchCooperativeKernelMultiDevice,
           (const struct cooperative_launch *launches, unsigned count, unsigned flags),
           (launches, count, flags), in_legacy(first_stream_of(launches, count)));

/* A graph's launch may take memory (graphs.h). */
HCS_LAUNCH_AROUND(cuGraphLaunch, (void *executable, void *stream), (executable, stream),
                  in_legacy(stream), hcs_graph_launching(executable), hcs_graph_launched());
HCS_LAUNCH_AROUND(cuGraphLaunch_ptsz, (void *executable, void *stream), (executable, stream),
                  in_own(stream), hcs_graph_launching(executable), hcs_graph_launched());
