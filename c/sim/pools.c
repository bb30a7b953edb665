/* See pools.h. */
#include "pools.h"

#include <pthread.h>
#include <stddef.h>

#include "blocks.h"

#define POOLS_MAX 1024

struct hcs_sim_pool {
    const struct hcs_sim_device *device; /* NULL: free */
    bool is_cards_own, destroyed;
    uint64_t step_bytes, reserved_bytes, used_bytes, threshold_bytes;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of all of these */
static struct hcs_sim_pool pools[POOLS_MAX];

/* With the mutex held, as all that follow. */
static bool is_there(const struct hcs_sim_pool *pool) {
    return pool >= pools && pool < pools + POOLS_MAX && pool->device != NULL && !pool->destroyed;
}

static struct hcs_sim_pool *find(const struct hcs_sim_device *device) {
    for (unsigned i = 0; i < POOLS_MAX; i++) {
        if (pools[i].device == device && (device == NULL || pools[i].is_cards_own)) {
            return &pools[i];
        }
    }
    return NULL;
}

static struct hcs_sim_pool *create(const struct hcs_sim_device *device, uint64_t step_bytes,
                                   bool is_cards_own) {
    struct hcs_sim_pool *pool = device != NULL ? find(NULL) : NULL;
    if (pool != NULL) {
        *pool = (struct hcs_sim_pool){
            .device = device, .is_cards_own = is_cards_own, .step_bytes = step_bytes};
    }
    return pool;
}

struct hcs_sim_pool *hcs_sim_pool_of(const struct hcs_sim_device *device, uint64_t step_bytes) {
    pthread_mutex_lock(&mutex);
    struct hcs_sim_pool *pool = device != NULL ? find(device) : NULL;
    pool = pool != NULL ? pool : create(device, step_bytes, true);
    pthread_mutex_unlock(&mutex);
    return pool;
}

struct hcs_sim_pool *hcs_sim_pool_create(const struct hcs_sim_device *device,
                                         uint64_t step_bytes) {
    pthread_mutex_lock(&mutex);
    struct hcs_sim_pool *pool = create(device, step_bytes, false);
    pthread_mutex_unlock(&mutex);
    return pool;
}

/* What is not in use, down to so much; whole steps. */
static void give_back(struct hcs_sim_pool *pool, uint64_t keep_bytes) {
    uint64_t step = pool->step_bytes;
    uint64_t keep = pool->used_bytes > keep_bytes ? pool->used_bytes : keep_bytes;
    keep = keep > UINT64_MAX - step ? UINT64_MAX : (keep + step - 1) / step * step;
    if (keep < pool->reserved_bytes) {
        hcs_sim_memory_give(pool->device, pool->reserved_bytes - keep);
        pool->reserved_bytes = keep;
    }
}

static void forget_if_empty(struct hcs_sim_pool *pool) {
    if (pool->destroyed && pool->used_bytes == 0) {
        give_back(pool, 0);
        pool->device = NULL;
    }
}

bool hcs_sim_pool_destroy(struct hcs_sim_pool *pool) {
    pthread_mutex_lock(&mutex);
    bool possible = is_there(pool) && !pool->is_cards_own;
    if (possible) {
        pool->destroyed = true;
        give_back(pool, 0);
        forget_if_empty(pool);
    }
    pthread_mutex_unlock(&mutex);
    return possible;
}

uint64_t hcs_sim_pool_allocate(struct hcs_sim_pool *pool, uint64_t bytes) {
    pthread_mutex_lock(&mutex);
    uint64_t room = is_there(pool) ? pool->reserved_bytes - pool->used_bytes : 0;
    uint64_t step = pool != NULL ? pool->step_bytes : 1;
    uint64_t more = bytes > room ? (bytes - room + step - 1) / step * step : 0;
    bool taken = is_there(pool) && (more == 0 || hcs_sim_memory_take(pool->device, more));
    if (taken) {
        pool->reserved_bytes += more;
        pool->used_bytes += bytes;
    }
    pthread_mutex_unlock(&mutex);
    return taken ? hcs_sim_block_place(pool->device, bytes, pool) : 0;
}

void hcs_sim_pool_returned(struct hcs_sim_pool *pool, uint64_t bytes) {
    pthread_mutex_lock(&mutex);
    pool->used_bytes -= bytes;
    forget_if_empty(pool);
    pthread_mutex_unlock(&mutex);
}

bool hcs_sim_pool_attribute(struct hcs_sim_pool *pool, int attribute, uint64_t *value) {
    pthread_mutex_lock(&mutex);
    bool known = is_there(pool);
    if (known && attribute == HCS_SIM_POOL_RESERVED_CURRENT) {
        *value = pool->reserved_bytes;
    } else if (known && attribute == HCS_SIM_POOL_USED_CURRENT) {
        *value = pool->used_bytes;
    } else if (known && attribute == HCS_SIM_POOL_RELEASE_THRESHOLD) {
        *value = pool->threshold_bytes;
    } else {
        known = false;
    }
    pthread_mutex_unlock(&mutex);
    return known;
}

bool hcs_sim_pool_set(struct hcs_sim_pool *pool, int attribute, uint64_t value) {
    pthread_mutex_lock(&mutex);
    bool known = is_there(pool) && attribute == HCS_SIM_POOL_RELEASE_THRESHOLD;
    if (known) {
        pool->threshold_bytes = value;
    }
    pthread_mutex_unlock(&mutex);
    return known;
}

bool hcs_sim_pool_trim(struct hcs_sim_pool *pool, uint64_t keep_bytes) {
    pthread_mutex_lock(&mutex);
    bool known = is_there(pool);
    if (known) {
        give_back(pool, keep_bytes);
    }
    pthread_mutex_unlock(&mutex);
    return known;
}

void hcs_sim_pools_reset(const struct hcs_sim_device *device) {
    for (unsigned i = 0; i < POOLS_MAX; i++) {
        struct hcs_sim_pool *pool = &pools[i];
        pthread_mutex_lock(&mutex);
        bool ends = device != NULL && pool->device == device;
        pool->destroyed = ends ? !pool->is_cards_own : pool->destroyed;
        pthread_mutex_unlock(&mutex);
        if (ends) {
            hcs_sim_blocks_free_context(pool);
            pthread_mutex_lock(&mutex);
            give_back(pool, 0);
            forget_if_empty(pool);
            pthread_mutex_unlock(&mutex);
        }
    }
}

void hcs_sim_pools_synchronized(void) {
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < POOLS_MAX; i++) {
        if (is_there(&pools[i]) && pools[i].reserved_bytes > pools[i].threshold_bytes) {
            give_back(&pools[i], pools[i].threshold_bytes);
        }
    }
    pthread_mutex_unlock(&mutex);
}
