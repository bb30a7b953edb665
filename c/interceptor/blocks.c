/* See blocks.h. */
#include "blocks.h"

#include <string.h>

#include "debug.h"
#include "lock.h"
#include "seldom.h"

#define SHARDS 64

static struct shard {
    struct hcs_lock lock; /* of the table */
    struct hcs_table table;
    uint64_t padding[3];
} shards[SHARDS] __attribute__((aligned(64)));

/* Other bits of the hash than those that the tables go by; of those, the ones which leave least
 * collisions there when addresses are 512 bytes to 2 MiB apart, as the runtimes hand them out. */
static struct shard *shard_of(uint64_t address) {
    return shards + (hcs_table_hash(address) >> 24) % SHARDS;
}

/* With the lock of the shard, which is given up. */
static HCS_SELDOM hcs_block put_after_all(struct shard *shard, uint64_t address, hcs_block block) {
    enum hcs_table_put put = hcs_table_put(&shard->table, address, &block);
    hcs_unlock(&shard->lock);
    if (put == HCS_TABLE_NO_MEMORY) {
        /* The host is out of memory. The charge stays until the process ends. */
        hcs_debug("charge_kept", "no memory to remember an address");
    }
    return put == HCS_TABLE_REPLACED ? block : 0;
}

static HCS_SELDOM hcs_block wait_and_put(struct shard *shard, uint64_t address, hcs_block block) {
    hcs_lock_wait(&shard->lock);
    return put_after_all(shard, address, block);
}

hcs_block hcs_blocks_put(uint64_t address, hcs_block block) {
    struct shard *shard = shard_of(address);
    if (!hcs_lock_at_once(&shard->lock)) {
        return wait_and_put(shard, address, block);
    }
    if (!hcs_table_add(&shard->table, address, block)) {
        return put_after_all(shard, address, block);
    }
    hcs_unlock(&shard->lock);
    return 0;
}

/* The same. */
static inline hcs_block take_locked(struct shard *shard, uint64_t address) {
    hcs_block block = 0;
    hcs_table_remove(&shard->table, address, &block);
    hcs_unlock(&shard->lock);
    return block;
}

static HCS_SELDOM hcs_block wait_and_take(struct shard *shard, uint64_t address) {
    hcs_lock_wait(&shard->lock);
    return take_locked(shard, address);
}

hcs_block hcs_blocks_take(uint64_t address) {
    struct shard *shard = shard_of(address);
    return hcs_lock_at_once(&shard->lock) ? take_locked(shard, address)
                                          : wait_and_take(shard, address);
}

struct search {
    unsigned device, context;
    uint64_t bytes; /* found so far */
};

static bool add_if_meant(hcs_block block, void *closure) {
    struct search *search = closure;
    unsigned context = hcs_block_context(block);
    bool meant = hcs_block_device(block) == search->device &&
                 (search->context == 0 ? context != HCS_CONTEXT_NONE : context == search->context);
    search->bytes += meant ? hcs_block_bytes(block) : 0;
    return meant;
}

uint64_t hcs_blocks_take_all(unsigned device, unsigned context) {
    struct search search = {device, context, 0};
    for (unsigned i = 0; i < SHARDS; i++) {
        hcs_lock(&shards[i].lock);
        hcs_table_sweep(&shards[i].table, add_if_meant, &search);
        hcs_unlock(&shards[i].lock);
    }
    return search.bytes;
}

/* The tables' memory is left as it is: at the fork another thread may just have changed it. */
void hcs_blocks_forget(void) { memset(shards, 0, sizeof shards); }
