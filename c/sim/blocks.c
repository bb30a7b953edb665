/* See blocks.h. */
#define _GNU_SOURCE
#include "blocks.h"

#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <time.h>

#include "pools.h"

#define ADDRESS_FIRST 0x300000000000ull /* below every mmap, above every heap */
#define REUSE_MAX 64                    /* freed addresses remembered; older ones stay unused */
#define DELAY_ENV "HCS_SIM_ALLOC_DELAY_US" /* a slow driver: widens races for tests */

struct block {
    uint64_t address;
    uint64_t bytes;
    const struct hcs_sim_device *device;
    const void *context;
    struct hcs_sim_pool *pool; /* what it goes back to; NULL: the card */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void *tree; /* of struct block, by address */
static uint64_t address_next = ADDRESS_FIRST;
static struct { uint64_t address, bytes; } reusable[REUSE_MAX];
static unsigned reusable_next;

static int by_address(const void *left, const void *right) {
    uint64_t a = ((const struct block *)left)->address;
    uint64_t b = ((const struct block *)right)->address;
    return (a > b) - (a < b);
}

static uint64_t pick_address(uint64_t bytes) {
    for (unsigned i = 0; i < REUSE_MAX; i++) {
        if (reusable[i].bytes == bytes && reusable[i].address != 0) {
            uint64_t address = reusable[i].address;
            reusable[i].address = 0;
            return address;
        }
    }
    uint64_t address = address_next;
    address_next += bytes;
    return address;
}

static long delay_us;

static void read_delay(void) {
    const char *text = getenv(DELAY_ENV);
    delay_us = text != NULL ? atol(text) : 0;
}

static void be_slow(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_delay);
    if (delay_us > 0) {
        struct timespec pause = {delay_us / 1000000, delay_us % 1000000 * 1000};
        nanosleep(&pause, NULL);
    }
}

/* Out of host memory inside a simulated driver nothing sensible is left to do. */
static uint64_t add_block(struct block made) {
    struct block *block = malloc(sizeof *block);
    pthread_mutex_lock(&mutex);
    made.address = pick_address(made.bytes);
    if (block == NULL) {
        abort();
    }
    *block = made;
    if (tsearch(block, &tree, by_address) == NULL) {
        abort();
    }
    pthread_mutex_unlock(&mutex);
    be_slow();
    return made.address;
}

uint64_t hcs_sim_block_allocate(const struct hcs_sim_device *device, uint64_t bytes,
                                const void *context) {
    bool taken = hcs_sim_context_begin(device, context) && hcs_sim_memory_take(device, bytes);
    return taken ? add_block((struct block){0, bytes, device, context, NULL}) : 0;
}

uint64_t hcs_sim_block_place(const struct hcs_sim_device *device, uint64_t bytes,
                             struct hcs_sim_pool *pool) {
    return add_block((struct block){0, bytes, device, pool, pool});
}

/* With the mutex held. */
static void remove_block(struct block *block) {
    tdelete(block, &tree, by_address);
    reusable[reusable_next % REUSE_MAX].address = block->address;
    reusable[reusable_next++ % REUSE_MAX].bytes = block->bytes;
    if (block->pool != NULL) {
        hcs_sim_pool_returned(block->pool, block->bytes);
    } else {
        hcs_sim_memory_give(block->device, block->bytes);
    }
    free(block);
}

/* With the mutex held. */
static struct block *block_at(uint64_t address) {
    struct block key = {.address = address};
    struct block **found = tfind(&key, &tree, by_address);
    return found != NULL ? *found : NULL;
}

bool hcs_sim_block_free(uint64_t address) {
    pthread_mutex_lock(&mutex);
    struct block *block = block_at(address);
    if (block != NULL) {
        remove_block(block);
    }
    pthread_mutex_unlock(&mutex);
    return block != NULL;
}

bool hcs_sim_blocks_merge(uint64_t *merged, unsigned count, const uint64_t *addresses) {
    bool known = true;
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < count; i++) {
        known = known && block_at(addresses[i]) != NULL;
    }
    for (unsigned i = 1; known && i < count; i++) {
        struct block *block = block_at(addresses[i]);
        block_at(addresses[0])->bytes += block->bytes;
        tdelete(block, &tree, by_address);
        free(block);
    }
    *merged = known ? addresses[0] : *merged;
    pthread_mutex_unlock(&mutex);
    return known;
}

struct search {
    const void *context;
    struct block *found;
};

static void match_context(const void *node, VISIT visit, void *closure) {
    struct search *search = closure;
    struct block *block = *(struct block *const *)node;
    if ((visit == preorder || visit == leaf) && block->context == search->context) {
        search->found = block;
    }
}

void hcs_sim_blocks_free_context(const void *context) {
    struct search search;
    pthread_mutex_lock(&mutex);
    do {
        search = (struct search){context, NULL};
        twalk_r(tree, match_context, &search);
        if (search.found != NULL) {
            remove_block(search.found);
        }
    } while (search.found != NULL);
    pthread_mutex_unlock(&mutex);
    hcs_sim_context_end(context);
}
