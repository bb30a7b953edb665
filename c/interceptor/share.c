/* See share.h. */
#define _GNU_SOURCE
#include "share.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "account.h"
#include "config.h"
#include "debug.h"
#include "lock.h"
#include "old_libc.h"
#include "report.h"
#include "seldom.h"

#define SLICE_NS 20000000u
#define SLICE_LAUNCHES_MAX 1000000u
#define PATIENCE_NS 1000000000u /* with kernels that do not end, the first time; then doubled */
#define POLL_NS 100000u         /* between two questions whether they did */
#define SLEEP_NS_MAX 50000000u  /* then look at the account again */
#define WORKS_MAX 64            /* streams; beyond it one that has waited longest is given up */

enum { CAPTURE_RELAXED = 2 }; /* all who have modes number them alike */

struct hcs_share_work {
    struct hcs_share_place place;
    const void *thread; /* whose stream it is; NULL: anybody's */
    void *start, *end;  /* events */
    uint64_t began_ns;  /* when the stream became busy; 0: idle, as far as we know */
    uint64_t counted_ns; /* in the account up to here */
    uint64_t used_ns;    /* the last launch */
    unsigned launching;  /* threads between begin and launched */
    bool is_ended;       /* since it became busy, `end` was recorded */
};

/* What a process launched on a card since it was last seen idle. */
struct slice {
    uint64_t began_ns; /* 0: nothing yet */
    uint64_t busy_ns;
    uint64_t launches, launches_max;
    uint64_t patience_ns; /* with its end; 0: as usual */
};

static bool limits;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static struct hcs_lock lock; /* of all below */
static struct hcs_share_work works[WORKS_MAX];
static struct slice slices[HCS_WIRE_DEVICES_MAX];

/* Nothing of the parent's is the child's. */
static void after_fork_in_child(void) {
    memset(&lock, 0, sizeof lock);
    memset(works, 0, sizeof works);
    memset(slices, 0, sizeof slices);
}

static void prepare(void) {
    limits =
        hcs_config()->compute_limited && pthread_atfork(NULL, NULL, after_fork_in_child) == 0;
}

bool hcs_share_limits(void) {
    int saved_errno = errno;
    hcs_once(&once, prepare);
    errno = saved_errno;
    return limits;
}

static uint64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int create(const struct hcs_share_runtime *runtime, void **event) {
    int (*real)(void **, unsigned) = hcs_real(runtime->create);
    return real != NULL ? real(event, runtime->flags) : -1;
}

static void destroy(const struct hcs_share_runtime *runtime, void *event) {
    int (*real)(void *) = hcs_real(runtime->destroy);
    if (real != NULL && event != NULL) {
        real(event);
    }
}

static bool record(const struct hcs_share_work *work, void *event) {
    int (*real)(void *, void *) = hcs_real(work->place.runtime->record);
    return real != NULL && real(event, work->place.stream) == 0;
}

static bool happened(const struct hcs_share_work *work) {
    const struct hcs_share_runtime *runtime = work->place.runtime;
    if (runtime->happened != NULL) {
        return runtime->happened(work->end);
    }
    int (*real)(void *) = hcs_real(runtime->query);
    return real == NULL || real(work->end) != runtime->not_ready;
}

/* Between the two events; 0 when the runtime does not say. */
static uint64_t elapsed_ns(const struct hcs_share_work *work) {
    int (*real)(float *, void *, void *) = hcs_real(work->place.runtime->elapsed);
    float milliseconds = 0;
    bool known = real != NULL && real(&milliseconds, work->start, work->end) == 0;
    return known && milliseconds > 0 ? (uint64_t)((double)milliseconds * 1e6) : 0;
}

static bool captured(const struct hcs_share_place *place) {
    if (place->runtime->captured != NULL) {
        return place->runtime->captured(place->stream);
    }
    int (*real)(void *, int *) = hcs_real(place->runtime->capturing);
    int status = 0;
    return real != NULL && (real(place->stream, &status) != 0 || status != 0);
}

/* Return the mode that was in force; to be put back. */
static int exchange_mode(const struct hcs_share_runtime *runtime, int mode) {
    int (*real)(int *) = hcs_real(runtime->mode);
    if (real != NULL) {
        real(&mode);
    }
    return mode;
}

static void count(struct hcs_ledger *ledger, struct hcs_share_work *work, uint64_t until_ns) {
    unsigned card = (unsigned)work->place.card;
    if (until_ns > work->counted_ns) {
        hcs_ledger_worked(ledger, card, hcs_config()->share_percent[card], work->counted_ns,
                          until_ns);
        slices[card].busy_ns += until_ns - work->counted_ns;
        work->counted_ns = until_ns;
    }
}

/* Count what a stream did up to now; false: it is idle. */
static bool settle(struct hcs_ledger *ledger, struct hcs_share_work *work, uint64_t now_ns) {
    if (work->began_ns == 0) {
        return false;
    }
    if (work->launching > 0 || !happened(work)) {
        count(ledger, work, now_ns);
        return true;
    }
    uint64_t until_ns = work->began_ns + elapsed_ns(work);
    count(ledger, work, until_ns < now_ns ? until_ns : now_ns);
    work->began_ns = 0;
    return false;
}

/* The same for all that we have on a card. */
static bool settle_card(struct hcs_ledger *ledger, int card, uint64_t now_ns) {
    bool busy = false;
    for (unsigned i = 0; i < WORKS_MAX; i++) {
        struct hcs_share_work *work = &works[i];
        busy |= work->place.card == card && work->began_ns != 0 && settle(ledger, work, now_ns);
    }
    return busy;
}

static const void *thread_of(const struct hcs_share_place *place) {
    static __thread char own __attribute__((tls_model("initial-exec")));
    return place->stream != NULL && place->stream == place->runtime->own_stream ? &own : NULL;
}

static bool is_of(const struct hcs_share_work *work, const struct hcs_share_place *place) {
    return work->start != NULL && work->place.stream == place->stream &&
           work->place.context == place->context && work->place.card == place->card &&
           work->place.runtime == place->runtime && work->thread == thread_of(place);
}

/* Make a place in the table that of another stream; its events stay if they can. */
static bool take_over(struct hcs_share_work *work, const struct hcs_share_place *place) {
    struct hcs_share_work taken = {.place = *place, .thread = thread_of(place)};
    bool usable = work->start != NULL && work->place.context == place->context &&
                  work->place.runtime == place->runtime;
    if (usable) {
        taken.start = work->start;
        taken.end = work->end;
    } else if (work->start != NULL) {
        destroy(work->place.runtime, work->start);
        destroy(work->place.runtime, work->end);
    }
    memset(work, 0, sizeof *work);
    if (!usable && create(place->runtime, &taken.start) != 0) {
        return false;
    }
    if (!usable && create(place->runtime, &taken.end) != 0) {
        destroy(place->runtime, taken.start);
        return false;
    }
    *work = taken;
    return true;
}

static bool can_measure(const struct hcs_share_runtime *runtime) {
    return hcs_real(runtime->create) != NULL && hcs_real(runtime->record) != NULL &&
           hcs_real(runtime->query) != NULL && hcs_real(runtime->elapsed) != NULL;
}

/* Time that nobody measures holds up nobody: let nobody think otherwise. */
static HCS_SELDOM void let_through(int card) {
    static bool said;
    if (!__atomic_exchange_n(&said, true, __ATOMIC_RELAXED)) {
        hcs_debug("no_compute_share", "the runtime lacks a function that measures its work");
    }
    hcs_report_unlimited((unsigned)card);
}

/* The stream's entry, or the one that was used longest ago, made its own; NULL: there is none. */
static struct hcs_share_work *work_of(struct hcs_ledger *ledger,
                                      const struct hcs_share_place *place, uint64_t now_ns) {
    struct hcs_share_work *oldest = NULL;
    for (unsigned i = 0; i < WORKS_MAX; i++) {
        struct hcs_share_work *work = &works[i];
        if (is_of(work, place)) {
            return work;
        }
        if (work->launching == 0 && (oldest == NULL || work->used_ns < oldest->used_ns)) {
            oldest = work;
        }
    }
    if (oldest == NULL) {
        return NULL;
    }
    settle(ledger, oldest, now_ns);
    return take_over(oldest, place) ? oldest : NULL;
}

static bool is_over(const struct slice *slice, uint64_t now_ns) {
    return slice->launches > 0 && (now_ns - slice->began_ns >= SLICE_NS ||
                                   slice->launches >= slice->launches_max);
}

/* The next slice has as many launches as this one would have had time for, and at most twice as
 * many as it had: how long a kernel takes is not known before. */
static void begin_anew(struct slice *slice) {
    uint64_t launches = slice->launches;
    if (launches == 0) {
        return;
    }
    uint64_t fitting = slice->busy_ns > 0 ? SLICE_NS * launches / slice->busy_ns : 2 * launches;
    fitting = fitting < 2 * launches ? fitting : 2 * launches;
    fitting = fitting < SLICE_LAUNCHES_MAX ? fitting : SLICE_LAUNCHES_MAX;
    *slice = (struct slice){.launches_max = fitting > 0 ? fitting : 1};
}

/* A sleep of the application's thread: signals interrupt it, cancellation does not. */
static void sleep_unlocked(uint64_t ns) {
    struct timespec pause = {0, (long)(ns < SLEEP_NS_MAX ? ns : SLEEP_NS_MAX)};
    int cancel_state;
    hcs_unlock(&lock);
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    nanosleep(&pause, NULL);
    pthread_setcancelstate(cancel_state, NULL);
    hcs_lock(&lock);
}

/* Wait until there is no debt, and for the end of a slice. */
static void wait_for_turn(struct hcs_ledger *ledger, int card) {
    struct slice *slice = &slices[card];
    uint64_t now_ns = monotonic_ns(), idle_ns = now_ns;
    for (;; now_ns = monotonic_ns()) {
        uint64_t debt_ns = hcs_ledger_debt_ns(ledger, (unsigned)card, now_ns);
        if (debt_ns == 0 && !is_over(slice, now_ns)) {
            return;
        }
        bool busy = settle_card(ledger, card, now_ns);
        uint64_t patience_ns = slice->patience_ns > 0 ? slice->patience_ns : PATIENCE_NS;
        if (busy && now_ns - idle_ns > patience_ns) {
            slice->patience_ns = 2 * patience_ns;
            return;
        }
        if (!busy) {
            idle_ns = now_ns;
            begin_anew(slice);
            debt_ns = hcs_ledger_debt_ns(ledger, (unsigned)card, now_ns);
            if (debt_ns == 0) {
                return;
            }
        }
        sleep_unlocked(busy ? POLL_NS : debt_ns);
    }
}

/* With the lock held. */
static struct hcs_share_work *begin(struct hcs_ledger *ledger,
                                    const struct hcs_share_place *place) {
    struct slice *slice = &slices[place->card];
    wait_for_turn(ledger, place->card);
    uint64_t now_ns = monotonic_ns();
    struct hcs_share_work *work = work_of(ledger, place, now_ns);
    if (work == NULL) {
        return NULL;
    }
    if (!settle(ledger, work, now_ns)) {
        if (!record(work, work->start)) {
            return NULL;
        }
        work->began_ns = work->counted_ns = now_ns;
        work->is_ended = false;
    }
    slice->began_ns = slice->launches == 0 ? now_ns : slice->began_ns;
    slice->launches_max = slice->launches_max > 0 ? slice->launches_max : 1;
    slice->launches++;
    work->used_ns = now_ns;
    work->launching++;
    return work;
}

struct hcs_share_work *hcs_share_begin(const struct hcs_share_place *place) {
    int saved_errno = errno;
    struct hcs_share_work *work = NULL;
    struct hcs_ledger *ledger = hcs_account_ledger_of(place->card);
    bool limited = ledger != NULL && hcs_config()->share_percent[place->card] < 100;
    if (place->card < 0) {
        hcs_found_no_card();
    } else if (limited && !can_measure(place->runtime)) {
        let_through(place->card);
    } else if (limited) {
        int mode = exchange_mode(place->runtime, CAPTURE_RELAXED);
        if (!captured(place)) {
            hcs_lock(&lock);
            work = begin(ledger, place);
            hcs_unlock(&lock);
        }
        exchange_mode(place->runtime, mode);
    }
    errno = saved_errno;
    return work;
}

void hcs_share_launched(struct hcs_share_work *work, bool accepted) {
    if (work == NULL) {
        return;
    }
    int saved_errno = errno;
    hcs_lock(&lock);
    if (work->launching > 0) { /* else its context ended meanwhile */
        work->launching--;
        if (accepted) {
            work->is_ended = record(work, work->end) || work->is_ended;
        } else if (work->launching == 0 && !work->is_ended) {
            work->began_ns = 0; /* it never became busy */
        }
    }
    hcs_unlock(&lock);
    errno = saved_errno;
}

void hcs_share_ended(unsigned context) {
    hcs_lock(&lock);
    for (unsigned i = 0; i < WORKS_MAX; i++) {
        if (works[i].place.context == context) {
            memset(&works[i], 0, sizeof works[i]);
        }
    }
    hcs_unlock(&lock);
}
