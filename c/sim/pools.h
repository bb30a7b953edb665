/* Memory pools, as CUDA has them and those that are shaped after it.
 *
 * A pool takes memory of its card in steps, hands it out in blocks, and keeps what is freed: until
 * the next synchronisation, of which it then gives back all above its threshold; or until it is
 * trimmed. A pool that was destroyed lives on until its last block is freed.
 */
#ifndef HCS_SIM_POOLS_H
#define HCS_SIM_POOLS_H

#include <stdbool.h>
#include <stdint.h>

#include "scenario.h"

struct hcs_sim_pool;

enum { /* attributes */
    HCS_SIM_POOL_RELEASE_THRESHOLD = 4,
    HCS_SIM_POOL_RESERVED_CURRENT = 5,
    HCS_SIM_POOL_USED_CURRENT = 7,
};

/* The card's own pool, and another one. NULL: there are too many. */
struct hcs_sim_pool *hcs_sim_pool_of(const struct hcs_sim_device *device, uint64_t step_bytes);
struct hcs_sim_pool *hcs_sim_pool_create(const struct hcs_sim_device *device, uint64_t step_bytes);

/* False: no such pool, or a card's own. */
bool hcs_sim_pool_destroy(struct hcs_sim_pool *pool);

/* The address of a block, to be freed as any other (blocks.h); 0: the card has not that much. */
uint64_t hcs_sim_pool_allocate(struct hcs_sim_pool *pool, uint64_t bytes);

/* False: no such pool or attribute. */
bool hcs_sim_pool_attribute(struct hcs_sim_pool *pool, int attribute, uint64_t *value);
bool hcs_sim_pool_set(struct hcs_sim_pool *pool, int attribute, uint64_t value);
bool hcs_sim_pool_trim(struct hcs_sim_pool *pool, uint64_t keep_bytes);

/* The card is reset: pools that were made end, its own is empty. */
void hcs_sim_pools_reset(const struct hcs_sim_device *device);

/* The program waited for a stream, an event or the card. */
void hcs_sim_pools_synchronized(void);

/* For blocks.c: a block was freed. */
void hcs_sim_pool_returned(struct hcs_sim_pool *pool, uint64_t bytes);

#endif
