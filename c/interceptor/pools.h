/* Memory that a runtime keeps for later: a pool's, and that of a card's graphs.
 *
 * What is allocated from a pool and freed again stays on the card until the runtime gives it back:
 * at a synchronisation, if the pool holds more than its threshold, or when somebody trims it. So
 * not the blocks are charged but the pools, with what the runtime itself says they hold. That can
 * grow with an allocation, by no more than its size in steps of `growth_bytes`: so much is reserved
 * before, and what it did not take is given back after. Allocations from pools come one after the
 * other for that.
 *
 * What lies idle in our pools is no reason for a refusal: if there is no room, they are trimmed
 * first. (So does a card that is full: quota and card refuse alike.)
 *
 * Nothing is handed out without such a reservation, also where a pool has room left. Whether a
 * block fits is the driver's to say, and none promises it: it depends on where the holes are, on
 * the streams that freed them and on how far these are known to be, and all that we can ask for are
 * two sums. Nor can a pool be kept from growing: a card's own has no limit, and that of one that
 * was made (maxSize) is for ever. To let it try, and trim it if it grew, is too much for a moment.
 *
 * Graphs take memory at a launch, into a pool of their own on each card, which they share as long
 * as they do not run at the same time. Whether they will is not known, so an executable graph is
 * *committed* with all that it may ever take, from its first launch to its end, whether the runtime
 * has it shared or not.
 */
#ifndef HCS_POOLS_H
#define HCS_POOLS_H

#include <stdbool.h>
#include <stdint.h>

#include "account.h"
#include "symbols.h"

/* A runtime's functions, for pools of one sort: CUDA's, or ones of their shape. */
struct hcs_pool_kind {
    uint64_t growth_bytes; /* a power of two */
    bool of_graphs;        /* of which each card has one */
    struct hcs_symbol *attribute; /* int (void *pool, int, void *value); int (int card, ...) */
    struct hcs_symbol *trim;      /* int (void *pool, size_t keep_bytes); int (int card) */
};

/* A pool. What the runtime cannot say the size of is charged by its blocks. */
struct hcs_pool_place {
    const struct hcs_pool_kind *kind;
    uint64_t key; /* its handle; for graphs 1 + the card's number; 0: none */
    int card;     /* the position in HCS_DEVICES; a negative one has no quota */
};

struct hcs_pool;
struct hcs_pool_room {
    hcs_charge charge;     /* HCS_REFUSED: do not even try */
    struct hcs_pool *pool; /* what it is for, and nobody else's until it is settled; or NULL */
};

/* Room for an allocation, and then: what it took, at which address (0: it failed). */
struct hcs_pool_room hcs_pool_reserve(const struct hcs_pool_place *place, uint64_t bytes);
void hcs_pool_settle(const struct hcs_pool_room *room, uint64_t address);

/* Before a block is freed: what hcs_pool_freed needs to know after it. */
uint64_t hcs_pool_take(uint64_t address);
void hcs_pool_freed(uint64_t taken, uint64_t address, bool freed);

/* A pool is about to end, and did. What is still allocated from it lives on. */
uint64_t hcs_pool_ending(const struct hcs_pool_kind *kind, uint64_t key);
void hcs_pool_ended(uint64_t ending);

/* The same, where it takes what is still allocated from it with it. */
void hcs_pool_ended_with_blocks(uint64_t ending);

/* All pools of a card ended. */
void hcs_pools_ended(int card);

/* Whether any pool is charged: most programs have none. */
extern bool hcs_pools_charged;

/* The runtime may have given something back: ask it. */
void hcs_pools_look(void);
static inline void hcs_pools_synchronized(void) {
    if (__atomic_load_n(&hcs_pools_charged, __ATOMIC_RELAXED)) {
        hcs_pools_look();
    }
}

/* If there is no room on a card for so much, trim what lies idle in our pools. */
void hcs_pools_trim(int card, uint64_t bytes);
static inline void hcs_pools_make_room(int card, uint64_t bytes) {
    if (__atomic_load_n(&hcs_pools_charged, __ATOMIC_RELAXED)) {
        hcs_pools_trim(card, bytes);
    }
}

/* Commit a pool to so many bytes more, whatever it holds; false: there is no room. And the end. */
bool hcs_pool_commit(const struct hcs_pool_place *place, uint64_t bytes);
void hcs_pool_withdraw(const struct hcs_pool_place *place, uint64_t bytes);

/* An allocation from a pool, and a free of what may come from one (see hooks.h). */
#define HCS_POOL_ALLOCATION(FUNCTION, PARAMETERS, ARGUMENTS, PLACE, BYTES, KEY)                   \
    HCS_HOOKED(FUNCTION, PARAMETERS, ARGUMENTS,                                                   \
        struct hcs_pool_place place = PLACE;                                                      \
        struct hcs_pool_room room = hcs_pool_reserve(&place, BYTES);                              \
        int result = OUT_OF_MEMORY;                                                               \
        if (room.charge != HCS_REFUSED) {                                                         \
            result = real ARGUMENTS;                                                              \
            hcs_pool_settle(&room, result == 0 ? (KEY) : 0);                                      \
        }                                                                                         \
    )

#define HCS_POOL_FREE(FUNCTION, PARAMETERS, ARGUMENTS, KEY)                                       \
    HCS_HOOKED(FUNCTION, PARAMETERS, ARGUMENTS,                                                   \
        hcs_charge charge = hcs_take(KEY);                                                        \
        uint64_t taken = charge == HCS_UNENFORCED ? hcs_pool_take(KEY) : 0;                       \
        int result = real ARGUMENTS;                                                              \
        hcs_settle(charge, result == 0 ? 0 : (KEY));                                              \
        if (taken != 0) {                                                                         \
            hcs_pool_freed(taken, KEY, result == 0);                                              \
        }                                                                                         \
    )

#endif
