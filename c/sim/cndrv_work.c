/* What the simulated libcndrv.so has of queues, notifiers, task topos and launches: card_work.h
 * behind the driver's own names and numbers. A kernel's handle is whatever the program passes. */
#include "card_work.h"
#include "cndrv.h"
#include "runtime_cards.h"

static CNresult result_of(int result, CNresult if_invalid) {
    switch (result) {
    case HCS_SIM_DONE:
        return CN_SUCCESS;
    case HCS_SIM_INVALID_VALUE:
        return CN_ERROR_INVALID_VALUE;
    case HCS_SIM_OUT_OF_MEMORY:
        return CN_ERROR_SYSTEM_OUT_OF_MEMORY;
    case HCS_SIM_NOT_READY:
        return CN_ERROR_NOT_READY;
    case HCS_SIM_CAPTURE_UNSUPPORTED:
        return CN_ERROR_QUEUE_CAPTURE_UNSUPPORTED;
    case HCS_SIM_CAPTURE_INVALIDATED:
    case HCS_SIM_CAPTURED_EVENT:
        return CN_ERROR_QUEUE_CAPTURE_INVALIDATED;
    default:
        return if_invalid;
    }
}

static CNresult for_queue(int result) { return result_of(result, CN_QUEUE_ERROR_INVALID); }
static CNresult for_notifier(int result) { return result_of(result, CN_NOTIFIER_ERROR_INVALID); }

/* A call on the current context's card. */
#define ON_CARD(CALL)                                                                              \
    const struct hcs_sim_device *card = hcs_sim_card_chosen();                                     \
    return card != NULL ? (CALL) : CN_ERROR_NOT_INITIALIZED

/* The queues that are always there have numbers of their own here. */
static void *queue_of(CNqueue queue) {
    if (queue == CN_QUEUE_TYPE_PER_THREAD) {
        return HCS_SIM_STREAM_PER_THREAD;
    }
    return queue == CN_QUEUE_TYPE_LEGACY ? HCS_SIM_STREAM_LEGACY : queue;
}

HCS_EXPORT CNresult cnCreateQueue(CNqueue *queue, unsigned flags) {
    (void)flags;
    ON_CARD(for_queue(hcs_sim_stream_create(card, queue)));
}
HCS_EXPORT CNresult cnDestroyQueue(CNqueue queue) {
    return for_queue(hcs_sim_stream_destroy(queue));
}
HCS_EXPORT CNresult cnQueryQueue(CNqueue queue) {
    ON_CARD(for_queue(hcs_sim_stream_query(card, queue_of(queue))));
}
HCS_EXPORT CNresult cnQueueSync(CNqueue queue) {
    ON_CARD(for_queue(hcs_sim_stream_wait(card, queue_of(queue))));
}
HCS_EXPORT CNresult cnCtxSync(void) { ON_CARD((hcs_sim_card_wait(card), CN_SUCCESS)); }

HCS_EXPORT CNresult cnCreateNotifier(CNnotifier *notifier, unsigned flags) {
    (void)flags;
    ON_CARD(for_notifier(hcs_sim_event_create(card, notifier)));
}
HCS_EXPORT CNresult cnDestroyNotifier(CNnotifier notifier) {
    return for_notifier(hcs_sim_event_destroy(notifier));
}
HCS_EXPORT CNresult cnPlaceNotifier(CNnotifier notifier, CNqueue queue) {
    ON_CARD(for_notifier(hcs_sim_event_record(card, notifier, queue_of(queue))));
}
HCS_EXPORT CNresult cnQueryNotifier(CNnotifier notifier) {
    return for_notifier(hcs_sim_event_query(notifier));
}
HCS_EXPORT CNresult cnWaitNotifier(CNnotifier notifier) {
    return for_notifier(hcs_sim_event_wait(notifier));
}
HCS_EXPORT CNresult cnNotifierElapsedTime(float *milliseconds, CNnotifier start, CNnotifier end) {
    return for_notifier(hcs_sim_event_elapsed(milliseconds, start, end));
}

HCS_EXPORT CNresult cnInvokeKernel(void *kernel, unsigned x, unsigned y, unsigned z, int class,
                                   unsigned reserved, CNqueue queue, void **parameters,
                                   void **extra) {
    (void)kernel, (void)class, (void)reserved, (void)parameters, (void)extra;
    ON_CARD(for_queue(hcs_sim_kernel_launch(card, queue_of(queue), (uint64_t)x * y * z)));
}
HCS_EXPORT CNresult cnInvokeKernelEx(const CNinvokeConfig *config, void *kernel,
                                     void **parameters, void **extra) {
    if (config == NULL) {
        return CN_ERROR_INVALID_VALUE;
    }
    return cnInvokeKernel(kernel, config->dimx, config->dimy, config->dimz, config->c,
                          config->reserved, config->hqueue, parameters, extra);
}

HCS_EXPORT CNresult cnQueueBeginCapture(CNqueue queue, int mode) {
    ON_CARD(for_queue(hcs_sim_capture_begin(card, queue_of(queue), mode)));
}
HCS_EXPORT CNresult cnQueueEndCapture(CNqueue queue, void **topo) {
    ON_CARD(for_queue(hcs_sim_capture_end(card, queue_of(queue), topo)));
}
HCS_EXPORT CNresult cnQueueIsCapturing(CNqueue queue, int *status) {
    ON_CARD(for_queue(hcs_sim_capture_status(card, queue_of(queue), status)));
}
HCS_EXPORT CNresult cnThreadExchangeQueueCaptureMode(int *mode) {
    return for_queue(hcs_sim_capture_mode_exchange(mode));
}

/* What can be invoked is the topo itself. */
HCS_EXPORT CNresult cnTaskTopoInstantiate(void **entity, void *topo, void **error_node, char *log,
                                          size_t log_bytes) {
    (void)error_node, (void)log, (void)log_bytes;
    *entity = topo;
    return CN_SUCCESS;
}
HCS_EXPORT CNresult cnTaskTopoEntityInvoke(void *entity, CNqueue queue) {
    ON_CARD(for_queue(hcs_sim_graph_launch(card, entity, queue_of(queue))));
}
