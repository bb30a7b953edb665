/* See blocks.h. */
#include "blocks.h"

#include <string.h>

#include "lock.h"

#define SHARDS 64

static struct shard {
    struct hcs_lock lock; /* of the table */
    struct hcs_table table;
    uint64_t padding[3];
} shards[SHARDS] __attribute__((aligned(64)));

/* Other bits of the hash than those that the tables go by. */
static struct shard *shard_of(uint64_t address) {
    return &shards[(hcs_table_hash(address) >> 32) % SHARDS];
}

enum hcs_table_put hcs_blocks_put(uint64_t address, hcs_block *block) {
    struct shard *shard = shard_of(address);
    hcs_lock(&shard->lock);
    enum hcs_table_put result = hcs_table_put(&shard->table, address, block);
    hcs_unlock(&shard->lock);
    return result;
}

hcs_block hcs_blocks_take(uint64_t address) {
    struct shard *shard = shard_of(address);
    hcs_block block = 0;
    hcs_lock(&shard->lock);
    hcs_table_remove(&shard->table, address, &block);
    hcs_unlock(&shard->lock);
    return block;
}

struct search {
    unsigned device, context;
    uint64_t bytes; /* found so far */
};

static bool add_if_meant(hcs_block block, void *closure) {
    struct search *search = closure;
    bool meant = hcs_block_device(block) == search->device &&
                 (search->context == 0 || hcs_block_context(block) == search->context);
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
