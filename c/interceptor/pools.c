/* See pools.h. */
#define _GNU_SOURCE
#include "pools.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>

#include "lock.h"
#include "seldom.h"
#include "table.h"

enum { POOL_RESERVED_CURRENT = 5, GRAPHS_RESERVED_CURRENT = 2 }; /* attributes, everybody's */

#define POOLS_MAX 65536 /* beyond it nothing is allocated from a pool */

struct hcs_pool {
    struct hcs_pool_place place; /* `kind` NULL: free; `key` 0: the pool ended, blocks live on */
    uint64_t charged_bytes;
    uint64_t committed_bytes; /* at least so much stays charged */
    uint64_t blocks;
};

static struct hcs_lock lock; /* of all of these; held while a pool allocates */
static struct hcs_pool pools[POOLS_MAX];
static unsigned pools_used;
static struct hcs_table owners; /* address -> the number of its pool, from 1 */

bool hcs_pools_charged;

/* What the parent has stays the parent's. */
static void after_fork_in_child(void) {
    memset(&lock, 0, sizeof lock);
    memset(&owners, 0, sizeof owners);
    pools_used = 0;
    hcs_pools_charged = false;
}
__attribute__((constructor)) static void watch_forks(void) {
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

/* With the lock held, as all that follow. NULL: there are too many. */
static struct hcs_pool *find(const struct hcs_pool_place *place) {
    struct hcs_pool *free_pool = NULL;
    for (unsigned i = 0; i < pools_used; i++) {
        struct hcs_pool *pool = &pools[i];
        if (pool->place.kind == place->kind && pool->place.key == place->key) {
            return pool;
        }
        free_pool = pool->place.kind == NULL ? pool : free_pool;
    }
    if (free_pool == NULL && pools_used < POOLS_MAX) {
        free_pool = &pools[pools_used++];
    }
    if (free_pool != NULL) {
        *free_pool = (struct hcs_pool){.place = *place};
    }
    return free_pool;
}

/* What a pool holds of its card; false: the runtime cannot tell. */
static bool read_reserved(const struct hcs_pool_place *place, uint64_t *bytes) {
    const struct hcs_pool_kind *kind = place->kind;
    void *function = place->key != 0 ? hcs_real(kind->attribute) : NULL;
    *bytes = 0;
    if (function == NULL) {
        return false;
    }
    if (kind->of_graphs) {
        return ((int (*)(int, int, void *))function)((int)place->key - 1, GRAPHS_RESERVED_CURRENT,
                                                     bytes) == 0;
    }
    return ((int (*)(void *, int, void *))function)((void *)(uintptr_t)place->key,
                                                    POOL_RESERVED_CURRENT, bytes) == 0;
}

static void trim_one(const struct hcs_pool_place *place) {
    void *function = hcs_real(place->kind->trim);
    if (function != NULL && place->kind->of_graphs) {
        ((int (*)(int))function)((int)place->key - 1);
    } else if (function != NULL) {
        ((int (*)(void *, size_t))function)((void *)(uintptr_t)place->key, 0);
    }
}

/* Charge so much, and not what was charged before. What cannot be charged, though it is there, is
 * tried again with the next look. */
static void charge(struct hcs_pool *pool, uint64_t bytes) {
    if (pool->charged_bytes > bytes) {
        uint64_t less = pool->charged_bytes - bytes;
        hcs_settle(hcs_block_of(less, (unsigned)pool->place.card, 0), 0);
        pool->charged_bytes = bytes;
    } else if (pool->charged_bytes < bytes) {
        hcs_charge more = hcs_reserve(pool->place.card, bytes - pool->charged_bytes);
        pool->charged_bytes = more > HCS_REFUSED ? bytes : pool->charged_bytes;
    }
    if (pool->charged_bytes > 0) {
        __atomic_store_n(&hcs_pools_charged, true, __ATOMIC_RELAXED);
    }
}

static void look_at(struct hcs_pool *pool) {
    uint64_t bytes;
    bool there = pool->place.kind != NULL && pool->place.key != 0 &&
                 (pool->charged_bytes > 0 || pool->committed_bytes > 0);
    if (there && read_reserved(&pool->place, &bytes)) {
        charge(pool, bytes > pool->committed_bytes ? bytes : pool->committed_bytes);
    }
}

void hcs_pools_look(void) {
    hcs_lock(&lock);
    for (unsigned i = 0; i < pools_used; i++) {
        look_at(&pools[i]);
    }
    hcs_unlock(&lock);
}

static bool has_room(int card, uint64_t bytes) {
    const struct hcs_ledger *ledger = hcs_account_ledger_of(card);
    if (ledger == NULL) {
        return true;
    }
    uint64_t quota_bytes = ledger->devices[card].quota_bytes;
    uint64_t used_bytes = hcs_ledger_used_bytes(ledger, (unsigned)card);
    return used_bytes <= quota_bytes && bytes <= quota_bytes - used_bytes;
}

static void trim(int card, uint64_t bytes) {
    for (unsigned i = 0; i < pools_used && !has_room(card, bytes); i++) {
        struct hcs_pool *pool = &pools[i];
        if (pool->place.card == card && pool->place.key != 0 && pool->charged_bytes > 0) {
            trim_one(&pool->place);
            look_at(pool);
        }
    }
}

void hcs_pools_trim(int card, uint64_t bytes) {
    if (card >= 0 && !has_room(card, bytes)) {
        hcs_lock(&lock);
        trim(card, bytes);
        hcs_unlock(&lock);
    }
}

static uint64_t in_steps(uint64_t bytes, uint64_t step_bytes) {
    return bytes > UINT64_MAX - step_bytes ? UINT64_MAX
                                           : (bytes + step_bytes - 1) & ~(step_bytes - 1);
}

struct hcs_pool_room hcs_pool_reserve(const struct hcs_pool_place *place, uint64_t bytes) {
    uint64_t reserved_bytes;
    if (place->card < 0 || !read_reserved(place, &reserved_bytes)) {
        return (struct hcs_pool_room){hcs_reserve(place->card, bytes), NULL};
    }
    uint64_t growth_bytes = in_steps(bytes, place->kind->growth_bytes);
    hcs_lock(&lock);
    trim(place->card, growth_bytes);
    struct hcs_pool_room room = {hcs_reserve(place->card, growth_bytes), NULL};
    if (room.charge > HCS_REFUSED && (room.pool = find(place)) == NULL) {
        hcs_give_back(room.charge);
        room.charge = HCS_REFUSED;
    }
    if (room.pool == NULL) {
        hcs_unlock(&lock);
    }
    return room;
}

void hcs_pool_settle(const struct hcs_pool_room *room, uint64_t address) {
    struct hcs_pool *pool = room->pool;
    if (pool == NULL) {
        hcs_settle(room->charge, address);
        return;
    }
    uint64_t owner = (uint64_t)(pool - pools) + 1;
    if (address == 0) { /* nor did it grow; to ask it would be the last answer of HIP */
        hcs_give_back(room->charge);
    } else {
        pool->charged_bytes += hcs_block_bytes(room->charge);
        look_at(pool);
        pool->blocks++;
        if (hcs_table_put(&owners, address, &owner) == HCS_TABLE_REPLACED) {
            pools[owner - 1].blocks--; /* the end of the block before escaped us */
        }
    }
    hcs_unlock(&lock);
}

uint64_t hcs_pool_take(uint64_t address) {
    uint64_t owner = 0;
    if (__atomic_load_n(&hcs_pools_charged, __ATOMIC_RELAXED)) {
        hcs_lock(&lock);
        hcs_table_remove(&owners, address, &owner);
        hcs_unlock(&lock);
    }
    return owner;
}

/* The last block of a pool that ended takes its memory with it. */
static void forget_if_empty(struct hcs_pool *pool) {
    if (pool->place.key == 0 && pool->blocks == 0) {
        charge(pool, 0);
        *pool = (struct hcs_pool){.place = {NULL, 0, 0}};
    }
}

void hcs_pool_freed(uint64_t taken, uint64_t address, bool freed) {
    hcs_lock(&lock);
    if (freed) {
        pools[taken - 1].blocks--;
        forget_if_empty(&pools[taken - 1]);
    } else {
        hcs_table_put(&owners, address, &taken);
    }
    hcs_unlock(&lock);
}

uint64_t hcs_pool_ending(const struct hcs_pool_kind *kind, uint64_t key) {
    uint64_t ending = 0;
    hcs_lock(&lock);
    for (unsigned i = 0; i < pools_used; i++) {
        if (pools[i].place.kind == kind && pools[i].place.key == key && key != 0) {
            trim_one(&pools[i].place); /* as its end does */
            look_at(&pools[i]);
            ending = i + 1;
        }
    }
    hcs_unlock(&lock);
    return ending;
}

void hcs_pool_ended(uint64_t ending) {
    if (ending != 0) {
        hcs_lock(&lock);
        pools[ending - 1].place.key = 0;
        forget_if_empty(&pools[ending - 1]);
        hcs_unlock(&lock);
    }
}

static bool is_of(uint64_t owner, void *pool) { return &pools[owner - 1] == pool; }

/* With the lock held. */
static void forget_with_blocks(struct hcs_pool *pool) {
    hcs_table_sweep(&owners, is_of, pool);
    charge(pool, 0);
    *pool = (struct hcs_pool){.place = {NULL, 0, 0}};
}

void hcs_pool_ended_with_blocks(uint64_t ending) {
    if (ending != 0) {
        hcs_lock(&lock);
        forget_with_blocks(&pools[ending - 1]);
        hcs_unlock(&lock);
    }
}

void hcs_pools_ended(int card) {
    hcs_lock(&lock);
    for (unsigned i = 0; i < pools_used; i++) {
        if (pools[i].place.kind != NULL && pools[i].place.card == card) {
            forget_with_blocks(&pools[i]);
        }
    }
    hcs_unlock(&lock);
}

bool hcs_pool_commit(const struct hcs_pool_place *place, uint64_t bytes) {
    if (place->card < 0 || bytes == 0) {
        return true;
    }
    hcs_lock(&lock);
    trim(place->card, bytes);
    hcs_charge more = hcs_reserve(place->card, bytes);
    struct hcs_pool *pool = more > HCS_REFUSED ? find(place) : NULL;
    if (pool != NULL) {
        pool->charged_bytes += bytes;
        pool->committed_bytes += bytes;
        __atomic_store_n(&hcs_pools_charged, true, __ATOMIC_RELAXED);
    } else if (more > HCS_REFUSED) {
        hcs_give_back(more);
    }
    hcs_unlock(&lock);
    return more != HCS_REFUSED;
}

void hcs_pool_withdraw(const struct hcs_pool_place *place, uint64_t bytes) {
    hcs_lock(&lock);
    for (unsigned i = 0; i < pools_used; i++) {
        struct hcs_pool *pool = &pools[i];
        if (pool->place.kind == place->kind && pool->place.key == place->key) {
            pool->committed_bytes -= bytes < pool->committed_bytes ? bytes : pool->committed_bytes;
            look_at(pool);
        }
    }
    hcs_unlock(&lock);
}
