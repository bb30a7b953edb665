/* Ascend: launches of kernels and models, in both layers: in the lower one also those arrive that
 * come from elsewhere, operators (aclop, aclnn) and models. What is asked is the lower one, since
 * both have the same streams and events. */
#include "hooks_acl.h"

#define LIBRARY hcs_acl_runtime_library

HCS_CALLED(rtEventCreateWithFlag);
HCS_CALLED(rtEventDestroy);
HCS_CALLED(rtEventRecord);
HCS_CALLED(rtEventQueryStatus);
HCS_CALLED(rtEventElapsedTime);
HCS_CALLED(rtStreamGetCaptureInfo);
HCS_CALLED(rtThreadExchangeCaptureMode);

enum { RT_EVENT_STREAM_MARK = 2, RT_EVENT_TIME_LINE = 8 };
enum { RT_EVENT_INIT = 0 };
enum { RT_STREAM_CAPTURE_STATUS_NONE = 0 };

static bool happened(void *event) {
    int (*query)(void *, int *) = hcs_real(&find_rtEventQueryStatus);
    int status = RT_EVENT_INIT;
    return query == NULL || query(event, &status) != 0 || status != RT_EVENT_INIT;
}

/* (The default stream cannot be captured, and some versions and cards know of no captures.) */
static bool captured(void *stream) {
    int (*get_info)(void *, int *, void **) = hcs_real(&find_rtStreamGetCaptureInfo);
    int status = RT_STREAM_CAPTURE_STATUS_NONE;
    void *model = NULL;
    bool known = stream != NULL && get_info != NULL && get_info(stream, &status, &model) == 0;
    return known && status != RT_STREAM_CAPTURE_STATUS_NONE;
}

static const struct hcs_share_runtime share_runtime = {
    .create = &find_rtEventCreateWithFlag,
    .destroy = &find_rtEventDestroy,
    .record = &find_rtEventRecord,
    .query = &find_rtEventQueryStatus,
    .elapsed = &find_rtEventElapsedTime,
    .mode = &find_rtThreadExchangeCaptureMode,
    .flags = RT_EVENT_STREAM_MARK | RT_EVENT_TIME_LINE,
    .happened = happened,
    .captured = captured,
};

/* A card stands for its context: events end with the last reset. */
static struct hcs_share_place in_stream(void *stream) {
    int card = hcs_acl_runtime_card();
    return (struct hcs_share_place){&share_runtime, card, (unsigned)card + 1, stream};
}

struct arguments; /* all that the kernel is given, in the many shapes that there are */
struct settings;  /* how it is launched, likewise */
struct names;     /* what it is called */

HCS_LAUNCH(rtKernelLaunch,
           (const void *function, uint32_t blocks, void *arguments, uint32_t bytes, void *memory,
            void *stream),
           (function, blocks, arguments, bytes, memory, stream), in_stream(stream));
HCS_LAUNCH(rtKernelLaunchWithFlag,
           (const void *function, uint32_t blocks, struct arguments *arguments, void *memory,
            void *stream, uint32_t flags),
           (function, blocks, arguments, memory, stream, flags), in_stream(stream));
HCS_LAUNCH(rtKernelLaunchWithFlagV2,
           (const void *function, uint32_t blocks, struct arguments *arguments, void *memory,
            void *stream, uint32_t flags, const struct settings *settings),
           (function, blocks, arguments, memory, stream, flags, settings), in_stream(stream));
HCS_LAUNCH(rtKernelLaunchWithHandle,
           (void *handle, uint64_t key, uint32_t blocks, struct arguments *arguments,
            void *memory, void *stream, const void *information),
           (handle, key, blocks, arguments, memory, stream, information), in_stream(stream));
HCS_LAUNCH(rtKernelLaunchWithHandleV2,
           (void *handle, uint64_t key, uint32_t blocks, struct arguments *arguments,
            void *memory, void *stream, const struct settings *settings),
           (handle, key, blocks, arguments, memory, stream, settings), in_stream(stream));
HCS_LAUNCH(rtVectorCoreKernelLaunch,
           (const void *function, uint32_t blocks, struct arguments *arguments, void *memory,
            void *stream, uint32_t flags, const struct settings *settings),
           (function, blocks, arguments, memory, stream, flags, settings), in_stream(stream));
HCS_LAUNCH(rtVectorCoreKernelLaunchWithHandle,
           (void *handle, uint64_t key, uint32_t blocks, struct arguments *arguments,
            void *memory, void *stream, const struct settings *settings),
           (handle, key, blocks, arguments, memory, stream, settings), in_stream(stream));
HCS_LAUNCH(rtLaunchKernelByFuncHandle,
           (void *function, uint32_t blocks, struct arguments *arguments, void *stream),
           (function, blocks, arguments, stream), in_stream(stream));
HCS_LAUNCH(rtLaunchKernelByFuncHandleV2,
           (void *function, uint32_t blocks, struct arguments *arguments, void *stream,
            const struct settings *settings),
           (function, blocks, arguments, stream, settings), in_stream(stream));
HCS_LAUNCH(rtLaunchKernelByFuncHandleV3,
           (void *function, uint32_t blocks, const struct arguments *arguments, void *stream,
            const struct settings *settings),
           (function, blocks, arguments, stream, settings), in_stream(stream));
HCS_LAUNCH(rtLaunchKernelWithArgsArray,
           (void *function, uint32_t blocks, void *stream, struct settings *settings,
            void **arguments),
           (function, blocks, stream, settings, arguments), in_stream(stream));
HCS_LAUNCH(rtsLaunchKernelWithConfig,
           (void *function, uint32_t blocks, void *stream, struct settings *settings,
            struct arguments *arguments, void *reserved),
           (function, blocks, stream, settings, arguments, reserved), in_stream(stream));
HCS_LAUNCH(rtsLaunchKernelWithDevArgs,
           (void *function, uint32_t blocks, void *stream, struct settings *settings,
            const void *arguments, uint32_t bytes, void *reserved),
           (function, blocks, stream, settings, arguments, bytes, reserved), in_stream(stream));
HCS_LAUNCH(rtsLaunchKernelWithHostArgs,
           (void *function, uint32_t blocks, void *stream, struct settings *settings,
            void *arguments, uint32_t bytes, void *places, uint32_t place_count),
           (function, blocks, stream, settings, arguments, bytes, places, place_count),
           in_stream(stream));
HCS_LAUNCH(rtFftsPlusTaskLaunch, (void *tasks, void *stream), (tasks, stream), in_stream(stream));
HCS_LAUNCH(rtFftsPlusTaskLaunchWithFlag, (void *tasks, void *stream, uint32_t flags),
           (tasks, stream, flags), in_stream(stream));
HCS_LAUNCH(rtFftsTaskLaunch, (void *tasks, void *stream), (tasks, stream), in_stream(stream));
HCS_LAUNCH(rtFftsTaskLaunchWithFlag, (void *tasks, void *stream, uint32_t flags),
           (tasks, stream, flags), in_stream(stream));
HCS_LAUNCH(rtMultipleTaskInfoLaunch, (const void *tasks, void *stream), (tasks, stream),
           in_stream(stream));
HCS_LAUNCH(rtMultipleTaskInfoLaunchWithFlag, (const void *tasks, void *stream, uint32_t flags),
           (tasks, stream, flags), in_stream(stream));
HCS_LAUNCH(rtFusionLaunch, (void *tasks, void *stream, struct arguments *arguments),
           (tasks, stream, arguments), in_stream(stream));

/* Kernels of the processors beside the cores: they take the card's time, too. */
HCS_LAUNCH(rtKernelLaunchEx, (void *arguments, uint32_t bytes, uint32_t flags, void *stream),
           (arguments, bytes, flags, stream), in_stream(stream));
HCS_LAUNCH(rtKernelLaunchFwk,
           (const char *name, void *arguments, uint32_t bytes, uint32_t flags, void *stream),
           (name, arguments, bytes, flags, stream), in_stream(stream));
HCS_LAUNCH(rtCpuKernelLaunch,
           (const void *library, const void *name, uint32_t blocks, const void *arguments,
            uint32_t bytes, void *memory, void *stream),
           (library, name, blocks, arguments, bytes, memory, stream), in_stream(stream));
HCS_LAUNCH(rtCpuKernelLaunchWithFlag,
           (const void *library, const void *name, uint32_t blocks,
            const struct arguments *arguments, void *memory, void *stream, uint32_t flags),
           (library, name, blocks, arguments, memory, stream, flags), in_stream(stream));
HCS_LAUNCH(rtAicpuKernelLaunch,
           (const struct names *names, uint32_t blocks, const void *arguments, uint32_t bytes,
            void *memory, void *stream),
           (names, blocks, arguments, bytes, memory, stream), in_stream(stream));
HCS_LAUNCH(rtAicpuKernelLaunchWithFlag,
           (const struct names *names, uint32_t blocks, const struct arguments *arguments,
            void *memory, void *stream, uint32_t flags),
           (names, blocks, arguments, memory, stream, flags), in_stream(stream));
HCS_LAUNCH(rtAicpuKernelLaunchEx,
           (uint32_t type, const struct names *names, uint32_t blocks,
            const struct arguments *arguments, void *memory, void *stream, uint32_t flags),
           (type, names, blocks, arguments, memory, stream, flags), in_stream(stream));
HCS_LAUNCH(rtAicpuKernelLaunchExWithArgs,
           (uint32_t type, const char *name, uint32_t blocks, const struct arguments *arguments,
            void *memory, void *stream, uint32_t flags),
           (type, name, blocks, arguments, memory, stream, flags), in_stream(stream));
HCS_LAUNCH(rtsLaunchCpuKernel,
           (void *function, uint32_t blocks, void *stream, const struct settings *settings,
            struct arguments *arguments),
           (function, blocks, stream, settings, arguments), in_stream(stream));

/* Models. Without a stream the call comes back when all is done: whatever stream the runtime takes
 * for it, the default one's events enclose it. */
HCS_LAUNCH(rtModelExecute, (void *model, void *stream, uint32_t flags), (model, stream, flags),
           in_stream(stream));
HCS_LAUNCH(rtModelExecuteSync, (void *model, void *stream, uint32_t flags, int32_t timeout_ms),
           (model, stream, flags, timeout_ms), in_stream(stream));
HCS_LAUNCH(rtsModelExecute, (void *model, int32_t timeout_ms), (model, timeout_ms),
           in_stream(NULL));
HCS_LAUNCH(rtsModelExecuteAsync, (void *model, void *stream), (model, stream), in_stream(stream));

#undef LIBRARY
#define LIBRARY hcs_acl_library

HCS_LAUNCH(aclrtLaunchKernel,
           (void *function, uint32_t blocks, const void *arguments, size_t bytes, void *stream),
           (function, blocks, arguments, bytes, stream), in_stream(stream));
HCS_LAUNCH(aclrtLaunchKernelV2,
           (void *function, uint32_t blocks, const void *arguments, size_t bytes,
            struct settings *settings, void *stream),
           (function, blocks, arguments, bytes, settings, stream), in_stream(stream));
HCS_LAUNCH(aclrtLaunchKernelWithConfig,
           (void *function, uint32_t blocks, void *stream, struct settings *settings,
            struct arguments *arguments, void *reserved),
           (function, blocks, stream, settings, arguments, reserved), in_stream(stream));
HCS_LAUNCH(aclrtLaunchKernelWithHostArgs,
           (void *function, uint32_t blocks, void *stream, struct settings *settings,
            void *arguments, size_t bytes, void *places, size_t place_count),
           (function, blocks, stream, settings, arguments, bytes, places, place_count),
           in_stream(stream));
HCS_LAUNCH(aclrtLaunchKernelWithArgsArray,
           (void *function, uint32_t blocks, void *stream, struct settings *settings,
            void **arguments),
           (function, blocks, stream, settings, arguments), in_stream(stream));
struct threads { /* dim3 */
    uint32_t x, y, z;
};
HCS_LAUNCH(aclrtLaunchSIMTKernelWithArgsArray,
           (void *function, struct threads grid, struct threads block, size_t shared_bytes,
            void *stream, struct settings *settings, void **arguments),
           (function, grid, block, shared_bytes, stream, settings, arguments), in_stream(stream));
HCS_LAUNCH(aclrtLaunchSIMTKernelWithHostArgs,
           (void *function, struct threads grid, struct threads block, size_t shared_bytes,
            void *stream, struct settings *settings, void *arguments, size_t bytes, void *places,
            size_t place_count),
           (function, grid, block, shared_bytes, stream, settings, arguments, bytes, places,
            place_count),
           in_stream(stream));
HCS_LAUNCH(aclmdlRIExecuteAsync, (void *model, void *stream), (model, stream), in_stream(stream));
HCS_LAUNCH(aclmdlRIExecute, (void *model, int32_t timeout_ms), (model, timeout_ms),
           in_stream(NULL));
