/* Kernels, streams, events and graphs, as CUDA and those that are shaped after it have them.
 *
 * A block of a kernel's grid takes the card HCS_SIM_BLOCK_NS at full speed; nothing is computed. A
 * stream does one thing after the other, and knows when it will be done with all of it; an event is
 * the moment up to which its stream had work when it was recorded. A stream that is captured does
 * nothing: its kernels become a graph. While one is captured in the global mode, asking for an
 * event ends that capture, unless the asking thread has put itself into the relaxed mode; asking
 * for an event that was itself captured ends it always.
 *
 * Streams and events have an owner, which is their context, or the card where a card stands for it:
 * they end with it.
 *
 * Results are the numbers that all these runtimes share. Handles are places in tables that are
 * never given back: a destroyed one is known as such.
 */
#ifndef HCS_SIM_CARD_WORK_H
#define HCS_SIM_CARD_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include "scenario.h"

#define HCS_SIM_BLOCK_NS 1000

enum {
    HCS_SIM_DONE = 0,
    HCS_SIM_INVALID_VALUE = 1,
    HCS_SIM_OUT_OF_MEMORY = 2,
    HCS_SIM_INVALID_HANDLE = 400,
    HCS_SIM_NOT_READY = 600,
    HCS_SIM_CAPTURE_UNSUPPORTED = 900,
    HCS_SIM_CAPTURE_INVALIDATED = 901,
    HCS_SIM_CAPTURED_EVENT = 907,
};

/* Streams that are always there, by these numbers for a handle. */
#define HCS_SIM_STREAM_LEGACY ((void *)1) /* as NULL */
#define HCS_SIM_STREAM_PER_THREAD ((void *)2)

int hcs_sim_stream_create(const void *owner, void **stream);
int hcs_sim_stream_destroy(void *stream);
/* A stream that was made; false: it is none. */
bool hcs_sim_stream_owner(void *stream, const void **owner);
int hcs_sim_stream_query(const struct hcs_sim_device *card, void *stream);
int hcs_sim_stream_wait(const struct hcs_sim_device *card, void *stream);

/* Wait for all that this process gave the card. */
void hcs_sim_card_wait(const struct hcs_sim_device *card);

int hcs_sim_event_create(const void *owner, void **event);
int hcs_sim_event_destroy(void *event);
int hcs_sim_event_record(const struct hcs_sim_device *card, void *event, void *stream);
int hcs_sim_event_query(void *event);
int hcs_sim_event_wait(void *event);
int hcs_sim_event_elapsed(float *milliseconds, void *start, void *end);

/* The owner ends, and all that is its own. */
void hcs_sim_work_end(const void *owner);

/* A kernel of no blocks is refused. */
int hcs_sim_kernel_launch(const struct hcs_sim_device *card, void *stream, uint64_t blocks);

int hcs_sim_capture_begin(const struct hcs_sim_device *card, void *stream, int mode);
int hcs_sim_capture_end(const struct hcs_sim_device *card, void *stream, void **graph);
int hcs_sim_capture_status(const struct hcs_sim_device *card, void *stream, int *status);
int hcs_sim_capture_mode_exchange(int *mode);
int hcs_sim_graph_create(void **graph); /* an empty one */
int hcs_sim_graph_launch(const struct hcs_sim_device *card, void *graph, void *stream);

#endif
