/* See card_work.h. */
#define _GNU_SOURCE
#include "card_work.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <time.h>

#include "card_memory.h"
#include "pools.h"

#define STREAMS_MAX 1024
#define EVENTS_MAX 1024
#define GRAPHS_MAX 256

enum { CAPTURE_GLOBAL = 0, CAPTURE_RELAXED = 2 };
enum { CAPTURE_NONE = 0, CAPTURE_ACTIVE = 1, CAPTURE_INVALIDATED = 2 };

struct stream {
    bool there;
    const void *owner;
    uint64_t done_ns;
    int capture; /* what is said of it */
    int mode;
    uint64_t captured_blocks;
};
struct event {
    bool there;
    const void *owner;
    uint64_t at_ns;
    struct stream *captured; /* recorded in its capture: no moment at all */
};
struct graph {
    bool there;
    uint64_t blocks;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of all of these */
static struct stream streams[STREAMS_MAX];
static struct stream legacy[HCS_SIM_DEVICES_MAX];
static __thread struct stream per_thread[HCS_SIM_DEVICES_MAX];
static struct event events[EVENTS_MAX];
static struct graph graphs[GRAPHS_MAX];
static uint64_t card_done_ns[HCS_SIM_DEVICES_MAX]; /* what this process gave it */
static __thread int capture_mode;

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void wait_until(uint64_t at_ns) {
    struct timespec at = {(time_t)(at_ns / 1000000000u), (long)(at_ns % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) {
    }
}

static uint64_t later(uint64_t one, uint64_t other) { return one > other ? one : other; }

/* NULL: no such stream. With the mutex held, as all that follow. */
static struct stream *stream_of(const struct hcs_sim_device *card, void *handle) {
    struct stream *stream = handle;
    if (handle == NULL || handle == HCS_SIM_STREAM_LEGACY) {
        return &legacy[card->number];
    }
    if (handle == HCS_SIM_STREAM_PER_THREAD) {
        return &per_thread[card->number];
    }
    return stream >= streams && stream < streams + STREAMS_MAX && stream->there ? stream : NULL;
}

static struct event *event_of(void *handle) {
    struct event *event = handle;
    return event >= events && event < events + EVENTS_MAX && event->there ? event : NULL;
}

static struct graph *graph_of(void *handle) {
    struct graph *graph = handle;
    return graph >= graphs && graph < graphs + GRAPHS_MAX && graph->there ? graph : NULL;
}

/* Take the first free entry of a table, and fill in what is known of it. */
#define TAKE(TABLE, MAX, HANDLE, ...)                                                              \
    ({                                                                                             \
        unsigned entry = 0;                                                                        \
        pthread_mutex_lock(&mutex);                                                                \
        while (entry < (MAX) && (TABLE)[entry].there) {                                            \
            entry++;                                                                               \
        }                                                                                          \
        if (entry < (MAX)) {                                                                       \
            (TABLE)[entry] = (__typeof__(*(TABLE))){.there = true, __VA_ARGS__};                   \
            *(HANDLE) = &(TABLE)[entry];                                                           \
        }                                                                                          \
        pthread_mutex_unlock(&mutex);                                                              \
        entry < (MAX) ? HCS_SIM_DONE : HCS_SIM_OUT_OF_MEMORY;                                      \
    })

int hcs_sim_stream_create(const void *owner, void **stream) {
    return TAKE(streams, STREAMS_MAX, stream, .owner = owner);
}

int hcs_sim_event_create(const void *owner, void **event) {
    return TAKE(events, EVENTS_MAX, event, .owner = owner);
}

int hcs_sim_stream_destroy(void *handle) {
    pthread_mutex_lock(&mutex);
    struct stream *stream = handle > HCS_SIM_STREAM_PER_THREAD ? stream_of(NULL, handle) : NULL;
    if (stream != NULL) {
        stream->there = false;
    }
    pthread_mutex_unlock(&mutex);
    return stream != NULL ? HCS_SIM_DONE : HCS_SIM_INVALID_HANDLE;
}

bool hcs_sim_stream_owner(void *handle, const void **owner) {
    pthread_mutex_lock(&mutex);
    struct stream *stream = handle > HCS_SIM_STREAM_PER_THREAD ? stream_of(NULL, handle) : NULL;
    *owner = stream != NULL ? stream->owner : NULL;
    pthread_mutex_unlock(&mutex);
    return stream != NULL;
}

int hcs_sim_event_destroy(void *handle) {
    pthread_mutex_lock(&mutex);
    struct event *event = event_of(handle);
    if (event != NULL) {
        event->there = false;
    }
    pthread_mutex_unlock(&mutex);
    return event != NULL ? HCS_SIM_DONE : HCS_SIM_INVALID_HANDLE;
}

void hcs_sim_work_end(const void *owner) {
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < STREAMS_MAX; i++) {
        streams[i].there &= streams[i].owner != owner;
    }
    for (unsigned i = 0; i < EVENTS_MAX; i++) {
        events[i].there &= events[i].owner != owner;
    }
    pthread_mutex_unlock(&mutex);
}

/* When the stream has done its work; false: no such stream. */
static bool stream_done_ns(const struct hcs_sim_device *card, void *handle, uint64_t *done_ns) {
    pthread_mutex_lock(&mutex);
    const struct stream *stream = stream_of(card, handle);
    *done_ns = stream != NULL ? stream->done_ns : 0;
    pthread_mutex_unlock(&mutex);
    return stream != NULL;
}

int hcs_sim_stream_query(const struct hcs_sim_device *card, void *handle) {
    uint64_t done_ns;
    if (!stream_done_ns(card, handle, &done_ns)) {
        return HCS_SIM_INVALID_HANDLE;
    }
    return done_ns <= now_ns() ? HCS_SIM_DONE : HCS_SIM_NOT_READY;
}

int hcs_sim_stream_wait(const struct hcs_sim_device *card, void *handle) {
    uint64_t done_ns;
    if (!stream_done_ns(card, handle, &done_ns)) {
        return HCS_SIM_INVALID_HANDLE;
    }
    wait_until(done_ns);
    hcs_sim_pools_synchronized();
    return HCS_SIM_DONE;
}

void hcs_sim_card_wait(const struct hcs_sim_device *card) {
    pthread_mutex_lock(&mutex);
    uint64_t done_ns = card_done_ns[card->number];
    pthread_mutex_unlock(&mutex);
    wait_until(done_ns);
    hcs_sim_pools_synchronized();
}

int hcs_sim_event_record(const struct hcs_sim_device *card, void *handle, void *stream_handle) {
    pthread_mutex_lock(&mutex);
    struct stream *stream = stream_of(card, stream_handle);
    struct event *event = event_of(handle);
    bool possible = stream != NULL && event != NULL;
    if (possible) {
        event->captured = stream->capture != CAPTURE_NONE ? stream : NULL;
        event->at_ns = later(stream->done_ns, now_ns());
    }
    pthread_mutex_unlock(&mutex);
    return possible ? HCS_SIM_DONE : HCS_SIM_INVALID_HANDLE;
}

/* Break the captures that do not allow what this thread does; true: there was one. */
static bool disturb_captures(void) {
    bool disturbed = false;
    for (unsigned i = 0; i < STREAMS_MAX && capture_mode != CAPTURE_RELAXED; i++) {
        struct stream *stream = &streams[i];
        if (stream->there && stream->capture != CAPTURE_NONE && stream->mode == CAPTURE_GLOBAL) {
            stream->capture = CAPTURE_INVALIDATED;
            disturbed = true;
        }
    }
    return disturbed;
}

static int event_at_ns(void *handle, uint64_t *at_ns) {
    pthread_mutex_lock(&mutex);
    const struct event *event = event_of(handle);
    bool disturbed = disturb_captures();
    int result = disturbed ? HCS_SIM_CAPTURE_UNSUPPORTED : HCS_SIM_DONE;
    *at_ns = event != NULL ? event->at_ns : 0;
    if (event != NULL && event->captured != NULL) {
        event->captured->capture =
            event->captured->capture != CAPTURE_NONE ? CAPTURE_INVALIDATED : CAPTURE_NONE;
        result = HCS_SIM_CAPTURED_EVENT;
    }
    pthread_mutex_unlock(&mutex);
    return event != NULL ? result : HCS_SIM_INVALID_HANDLE;
}

int hcs_sim_event_query(void *event) {
    uint64_t at_ns;
    int result = event_at_ns(event, &at_ns);
    return result == HCS_SIM_DONE && at_ns > now_ns() ? HCS_SIM_NOT_READY : result;
}

int hcs_sim_event_wait(void *event) {
    uint64_t at_ns;
    int result = event_at_ns(event, &at_ns);
    if (result == HCS_SIM_DONE) {
        wait_until(at_ns);
        hcs_sim_pools_synchronized();
    }
    return result;
}

int hcs_sim_event_elapsed(float *milliseconds, void *start, void *end) {
    uint64_t start_ns, end_ns;
    if (event_at_ns(start, &start_ns) != HCS_SIM_DONE ||
        event_at_ns(end, &end_ns) != HCS_SIM_DONE || start_ns == 0 || end_ns == 0) {
        return HCS_SIM_INVALID_HANDLE;
    }
    if (later(start_ns, end_ns) > now_ns()) {
        return HCS_SIM_NOT_READY;
    }
    *milliseconds = (float)(int64_t)(end_ns - start_ns) / 1e6f;
    return HCS_SIM_DONE;
}

/* The card as it is now: the snapshot that the runtime began with may have been faster. */
static uint64_t duration_ns(unsigned number, uint64_t blocks) {
    const struct hcs_sim_scenario *scenario = hcs_sim_scenario_acquire();
    unsigned percent = scenario != NULL && number < scenario->device_count
                           ? scenario->devices[number].speed_percent
                           : 100;
    hcs_sim_scenario_release(scenario);
    return blocks * HCS_SIM_BLOCK_NS * 100 / (percent > 0 ? percent : 100);
}

static int launch(const struct hcs_sim_device *card, void *handle, uint64_t blocks) {
    pthread_mutex_lock(&mutex);
    struct stream *stream = stream_of(card, handle);
    if (stream != NULL && stream->capture != CAPTURE_NONE) {
        stream->captured_blocks += blocks;
    } else if (stream != NULL) {
        uint64_t after_ns = later(stream->done_ns, now_ns());
        stream->done_ns = hcs_sim_card_work(card, after_ns, duration_ns(card->number, blocks));
        card_done_ns[card->number] = later(card_done_ns[card->number], stream->done_ns);
    }
    pthread_mutex_unlock(&mutex);
    return stream != NULL ? HCS_SIM_DONE : HCS_SIM_INVALID_HANDLE;
}

int hcs_sim_kernel_launch(const struct hcs_sim_device *card, void *stream, uint64_t blocks) {
    return blocks > 0 ? launch(card, stream, blocks) : HCS_SIM_INVALID_VALUE;
}

int hcs_sim_capture_begin(const struct hcs_sim_device *card, void *handle, int mode) {
    pthread_mutex_lock(&mutex);
    struct stream *stream = stream_of(card, handle);
    if (stream != NULL) {
        stream->capture = CAPTURE_ACTIVE;
        stream->mode = mode;
        stream->captured_blocks = 0;
    }
    pthread_mutex_unlock(&mutex);
    return stream != NULL ? HCS_SIM_DONE : HCS_SIM_INVALID_HANDLE;
}

int hcs_sim_capture_end(const struct hcs_sim_device *card, void *handle, void **graph) {
    struct graph *made = NULL;
    int result = TAKE(graphs, GRAPHS_MAX, &made);
    pthread_mutex_lock(&mutex);
    struct stream *stream = stream_of(card, handle);
    if (stream == NULL || stream->capture == CAPTURE_NONE) {
        result = HCS_SIM_INVALID_HANDLE;
    } else if (stream->capture == CAPTURE_INVALIDATED) {
        result = HCS_SIM_CAPTURE_INVALIDATED;
    } else if (result == HCS_SIM_DONE) {
        made->blocks = stream->captured_blocks;
    }
    if (stream != NULL) {
        stream->capture = CAPTURE_NONE;
    }
    if (result != HCS_SIM_DONE && made != NULL) {
        made->there = false;
    }
    pthread_mutex_unlock(&mutex);
    *graph = result == HCS_SIM_DONE ? made : NULL;
    return result;
}

int hcs_sim_capture_status(const struct hcs_sim_device *card, void *handle, int *status) {
    pthread_mutex_lock(&mutex);
    const struct stream *stream = stream_of(card, handle);
    if (stream != NULL) {
        *status = stream->capture;
    }
    pthread_mutex_unlock(&mutex);
    return stream != NULL ? HCS_SIM_DONE : HCS_SIM_INVALID_HANDLE;
}

int hcs_sim_capture_mode_exchange(int *mode) {
    int before = capture_mode;
    capture_mode = *mode;
    *mode = before;
    return HCS_SIM_DONE;
}

int hcs_sim_graph_create(void **graph) { return TAKE(graphs, GRAPHS_MAX, graph); }

int hcs_sim_graph_launch(const struct hcs_sim_device *card, void *handle, void *stream) {
    pthread_mutex_lock(&mutex);
    const struct graph *graph = graph_of(handle);
    uint64_t blocks = graph != NULL ? graph->blocks : 0;
    pthread_mutex_unlock(&mutex);
    return graph != NULL ? launch(card, stream, blocks) : HCS_SIM_INVALID_HANDLE;
}
