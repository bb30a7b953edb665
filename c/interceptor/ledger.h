/* The account of one container: what all its processes together hold of each card.
 *
 * One shared mapping (ledger_file.h) without any lock. Each process has a slot, and in it for each
 * card two numbers that only this process changes: `held_bytes`, what was granted to it, and
 * `pending_bytes`, what it is asking for just now. There is no total: whoever needs one adds up
 * the slots. So there is nothing that a kill could leave half done: what a dead process left is in
 * its own slot, and goes with it.
 *
 * To reserve is to announce, look, decide: add to the own `pending_bytes`, then add up everybody's
 * pending and held bytes; within the quota, move the bytes from pending to held, else withdraw.
 *
 *   Never one byte too many. Of all charges held at some moment, take the one announced last. Who
 *   decided on it added up after announcing it, so saw all the others, pending or held (a charge
 *   that moves may be seen twice, never not at all), and found them within the quota together.
 *
 *   No refusal without a reason. Two that announce at once may each see the other and both
 *   withdraw, though one would fit. So only held bytes are a reason: the sum of what others hold
 *   must have left no room at one and the same moment, which it did if nothing was granted while it
 *   was added up (`grants` says so). Otherwise withdraw, wait a random while, try again. What is
 *   granted and then refused by the runtime itself counts until it is given back.
 *
 *   Some is charged without asking, as it is used already (overhead.h). Then more may be held than
 *   the quota, and nothing is granted until it is not.
 *
 *   Slots of dead processes are emptied before any refusal, and by whoever looks at the account
 *   (at most ten times a second), or hears from the agent that a neighbour ended.
 *
 * A slot is taken by writing one's word into `owners`, if nobody's is there. The quotas are those
 * of the process that made the ledger and never change; one that has other quotas and finds nobody
 * alive in it removes the ledger and makes another. Not while somebody joins: the one announces
 * that it is closing the ledger and then looks for owners, the other takes a slot and then looks
 * whether it is being closed, so one of them sees the other. Who dies of closing it did not close
 * it, and the next one goes on. Who is stopped there is waited for, as nobody else ever is, and not
 * for long (ledger_file.c).
 *
 * The time that a card worked for the container is the union of what its processes measured: two
 * that waited for the same card at the same time waited once. So the account of it is a timeline,
 * a bit for each 0.13 ms of the last second, and only a bit that was not set yet is counted. What
 * is counted moves `paid_until_ns`: from then on, and not before, the share covers what was used.
 * A process that dies in between leaves uncounted what it had measured last.
 *
 * We find dead processes by pid, which means something only inside one pid namespace, so a ledger
 * belongs to one (ledger_file.h).
 */
#ifndef HCS_LEDGER_H
#define HCS_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"

#define HCS_LEDGER_MAGIC 0x344c44454c534348ull /* "HCSLEDL4"; a changed layout gets a new one */
#define HCS_LEDGER_SLOTS_MAX 1024 /* processes; beyond it a process runs unenforced */
#define HCS_LEDGER_BYTES_MAX (UINT64_C(1) << 46) /* of one charge, so that no sum overflows */

struct hcs_ledger_charge {
    uint64_t pending_bytes;
    uint64_t held_bytes;
};

#define HCS_LEDGER_QUANTUM_SHIFT 17 /* 2^17 ns: what the card's time is counted in */
#define HCS_LEDGER_TIMELINE_WORDS 256 /* of 32 quanta each: 1.07 s, longer than any slice */
#define HCS_LEDGER_CREDIT_NS 200000000u     /* unused time does not count any more after this */
#define HCS_LEDGER_DEBT_NS_MAX 600000000000u /* a debt above it is remitted, or not believed */

struct hcs_ledger_work {
    uint64_t paid_until_ns; /* on the monotonic clock */
    uint64_t busy_quanta;   /* ever counted */
    uint64_t padding[6];
    uint64_t timeline[HCS_LEDGER_TIMELINE_WORDS]; /* which 32 quanta, modulo 2^32; their bits */
};

struct hcs_ledger_device {
    uint64_t quota_bytes;
    uint64_t peak_bytes; /* never too low; above the quota only with what nobody asked for */
    uint64_t refusals;
    uint64_t grants; /* counted before they are seen */
    uint64_t padding[4];
    struct hcs_ledger_charge charges[HCS_LEDGER_SLOTS_MAX];
    struct hcs_ledger_work work;
};

struct hcs_ledger {
    uint64_t magic;
    uint64_t pid_namespace;
    uint64_t epoch_ns;     /* when it was made: part of its name (ledger_file.h) */
    uint64_t looked_at_ns; /* when somebody last looked for the dead, on the monotonic clock */
    uint32_t device_count;
    uint32_t slots_used; /* slots at and above this index were never taken */
    uint64_t closer;     /* process.h's word of who is about to remove the ledger; 0: nobody */
    uint64_t padding[2];
    uint64_t owners[HCS_LEDGER_SLOTS_MAX]; /* process.h's words; 0: free */
    struct hcs_ledger_device devices[HCS_WIRE_DEVICES_MAX];
};

/* Prepare fresh memory that nobody else sees yet. */
void hcs_ledger_init(struct hcs_ledger *ledger, const struct hcs_config *config,
                     uint64_t pid_namespace, uint64_t now_ns);

#define HCS_LEDGER_FULL (-1)
#define HCS_LEDGER_CLOSING (-2) /* look again whether there is another one */

/* Take a slot for the process `self`; one of the above: there is none. Afterwards the caller makes
 * sure that the ledger was not removed before, or leaves it again. */
int hcs_ledger_join(struct hcs_ledger *ledger, uint64_t self);
void hcs_ledger_leave(struct hcs_ledger *ledger, unsigned slot);

bool hcs_ledger_has_quotas_of(const struct hcs_ledger *ledger, const struct hcs_config *config);

/* Keep others from joining, if nobody alive is in it: true, and the caller removes it. */
bool hcs_ledger_close(struct hcs_ledger *ledger, uint64_t self);

/* Charge bytes to a card before they are allocated; false: refused. */
bool hcs_ledger_reserve(struct hcs_ledger *ledger, unsigned slot, unsigned device, uint64_t bytes);

/* The same if it fits at first sight; false: only the above says whether it is refused. */
bool hcs_ledger_reserve_at_once(struct hcs_ledger *ledger, unsigned slot, unsigned device,
                                uint64_t bytes);

/* Give bytes back that `slot` holds. */
void hcs_ledger_release(struct hcs_ledger *ledger, unsigned slot, unsigned device, uint64_t bytes);

/* Charge a slot with what its process has already, whether there is room or not. */
void hcs_ledger_impose(struct hcs_ledger *ledger, unsigned slot, unsigned device, uint64_t bytes);

/* The most that this process held of a card since it forgot it last: at least what it held at any
 * moment after that call returned. */
uint64_t hcs_ledger_highest_bytes(unsigned device);
void hcs_ledger_forget_highest(const struct hcs_ledger *ledger, unsigned slot, unsigned device);

/* Empty the slots of dead processes; return how many. */
unsigned hcs_ledger_reclaim(struct hcs_ledger *ledger, unsigned slot);

/* The same, unless somebody looked a moment ago. */
void hcs_ledger_reclaim_now_and_then(struct hcs_ledger *ledger, unsigned slot);

/* What all processes hold of a card. */
uint64_t hcs_ledger_used_bytes(const struct hcs_ledger *ledger, unsigned device);

/* A card worked for us from one moment to another, on the monotonic clock, of which the container
 * may have so many percent. */
void hcs_ledger_worked(struct hcs_ledger *ledger, unsigned device, unsigned percent,
                       uint64_t from_ns, uint64_t until_ns);

/* How long the container must leave a card alone until the share covers what it used. */
uint64_t hcs_ledger_debt_ns(const struct hcs_ledger *ledger, unsigned device, uint64_t now_ns);

/* Copy the state of all cards. Its revision is the time before it was read: what is reported with
 * a higher one is at least as new. */
void hcs_ledger_read(const struct hcs_ledger *ledger, struct hcs_wire_usage *usage,
                     uint64_t quota_bytes[HCS_WIRE_DEVICES_MAX]);

#endif
