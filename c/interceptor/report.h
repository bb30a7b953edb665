/* Tells the agent what the container uses, without the application noticing.
 *
 * One thread per process, started with the process's first hooked call and only when there is an
 * agent to talk to; the runtimes start threads of their own at that point, so a program that is
 * still single-threaded stays so. It has all signals blocked, wakes every 100 ms or when the agent
 * says something, and sends the ledger's state, at most ten times a second, if this process
 * changed it, or once a second, if it only launched: the hooks themselves do no more than set a
 * flag, or count. A timer signal or sending from the hooks would need no thread, but the first is
 * visible to the application, and the second leaves the last change unsaid until the next call.
 *
 * The agent also says what the driver has of this process on its cards: overhead.h makes of it what
 * the process's contexts are charged with.
 *
 * Everything is non-blocking. A message that finds the socket full is counted (the count is in the
 * next header) and said again. Without an agent it tries to connect once a second; an agent that
 * hangs up is left alone for a second, then two, then four, then eight, until a connection lasts
 * for ten or nobody listens any more. At exit the last state is said once more, so also a program
 * that lives for a moment is heard. The agent sees the process's end by the socket's end, and asks
 * a surviving neighbour to reclaim; the kernel may still be taking the dead process apart then, so
 * the neighbour looks for a while.
 *
 * An application may close descriptors it does not know: before each use we check that ours is
 * still the socket we opened.
 */
#ifndef HCS_REPORT_H
#define HCS_REPORT_H

#include <stdbool.h>
#include <stdint.h>

/* Start reporting; does nothing without socket, pod uid, container and device ids. */
void hcs_report_start(void);

/* This process changed the ledger. */
void hcs_report_changed(void);

/* What the process launched, ever: kernels and graphs that its runtimes took, also those that a
 * stream captured. A graph counts as one, and a launch inside of another one not at all. Counted
 * also where nobody is told, for to ask would cost as much. The line of the cache is its own: all
 * threads that launch write it. */
struct hcs_report_launches {
    uint64_t count;
} __attribute__((aligned(64)));
extern struct hcs_report_launches hcs_report_launches;

/* Launches that this thread is in, one inside of the other. */
extern __thread unsigned hcs_report_launches_now __attribute__((tls_model("initial-exec")));

/* For hooks.h, around each launch. */
static inline void hcs_report_launching(void) { hcs_report_launches_now++; }
static inline void hcs_report_launched(bool accepted) {
    if (--hcs_report_launches_now == 0 && accepted) {
        __atomic_fetch_add(&hcs_report_launches.count, 1, __ATOMIC_RELAXED);
    }
}

/* This process is not held to its quota: hang up, and do not greet the agent again. The driver's
 * list of who is on the card tells it of us. */
void hcs_report_cease(void);

/* This process is not held to its share of a card's time. It is to its quota: say both. */
void hcs_report_unlimited(unsigned device);

/* In a forked child: the thread, the connection and the launches are the parent's. */
void hcs_report_forget(void);

#endif
