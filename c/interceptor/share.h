/* HCS_COMPUTE_SHARE: kernels and graphs are launched only as fast as the container's share of the
 * card's time allows. The time is measured, not estimated:
 *
 *   - Before and behind what is launched into a stream an event is recorded. A stream that was idle
 *     at the first launch and has not been since is *busy*; how long, the runtime says from the two
 *     events, once the last one has happened. Meanwhile it is busy until now.
 *   - What was measured goes into the container's account (ledger.h), a union over all streams and
 *     processes. An account in debt holds up the launches of all of them.
 *   - Launches go through without looking for the end of the last for a *slice*: until 20 ms are
 *     over, or as many launches as took 20 ms before. Then the next launch waits for the card to
 *     be done with ours, so what nobody has measured yet is never more than a slice.
 *
 * So of any stretch of time the container gets its share, and beyond it at most
 *
 *     share x 200 ms (unused time that may be caught up, HCS_LEDGER_CREDIT_NS)
 *     + for each process a slice: 20 ms, or one launch that takes longer,
 *
 * and what is too much in one stretch is missing from the next. Kernels that suddenly take longer
 * than those before them are counted as they are, but a slice of them is longer by as much. While
 * strangers use the same card their turns count as ours: the events cannot tell.
 *
 * We never wait in the runtime, only ask: not for longer than a second (then two, then four …) for
 * kernels that do not end, which may be waiting for the very one to be launched; not inside of a
 * capture, and in the mode that does not disturb those of others. Whatever the runtime refuses, the
 * launch goes through. So it does where the runtime lacks a function that measures: the agent is
 * told that the card's share is not kept, and goes on hearing of the memory, which is.
 */
#ifndef HCS_SHARE_H
#define HCS_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#include "symbols.h"

/* What is called of a runtime: CUDA's functions, or ones of their shape. */
struct hcs_share_runtime {
    struct hcs_symbol *create;    /* int (void **event, unsigned flags) */
    struct hcs_symbol *destroy;   /* int (void *event) */
    struct hcs_symbol *record;    /* int (void *event, void *stream) */
    struct hcs_symbol *query;     /* int (void *event): 0, or not_ready */
    struct hcs_symbol *elapsed;   /* int (float *milliseconds, void *start, void *end) */
    struct hcs_symbol *capturing; /* int (void *stream, int *status): 0 for "no" */
    struct hcs_symbol *mode;      /* int (int *mode): exchange the thread's capture mode */
    unsigned flags;               /* of an event that knows its time */
    int not_ready;
    void *own_stream; /* the handle that means the calling thread's; NULL: there is none */
    /* Called instead of query and capturing, where these have other shapes. */
    bool (*happened)(void *event);
    bool (*captured)(void *stream);
};

/* Where something is launched. */
struct hcs_share_place {
    const struct hcs_share_runtime *runtime;
    int card;         /* the position in HCS_DEVICES; a negative one has no share */
    unsigned context; /* what events end with */
    void *stream;
};

/* CUDA's, and of those who are shaped after it. */
#define HCS_SHARE_NOT_READY 600
#define HCS_SHARE_LEGACY_STREAM ((void *)1) /* NULL, as everybody writes it */
#define HCS_SHARE_OWN_STREAM ((void *)2)    /* the calling thread's; NULL for _ptsz functions */

/* Whether there is anything to limit; the same as long as the process lives. */
bool hcs_share_limits(void);

/* One stream's work. */
struct hcs_share_work;

/* Wait until the share allows a launch; NULL: it has none. Keeps errno. */
struct hcs_share_work *hcs_share_begin(const struct hcs_share_place *place);

/* It was launched, or refused: then the runtime is asked nothing, for it may keep the last answer
 * for the program, as HIP does. */
void hcs_share_launched(struct hcs_share_work *work, bool accepted);

/* A context ends, and all its events. */
void hcs_share_ended(unsigned context);

#endif
