/* Ascend: what comes from pools (pools.h), and what may have: in both layers any free takes a
 * pool's block as well. What is asked is the lower layer, since both have the same pools. */
#include "hooks_acl.h"
#include "lock.h"
#include "pools.h"
#include "table.h"

#define GROWTH_BYTES (UINT64_C(2) << 20) /* a pool's smallest block */

enum { LOCATION_DEVICE = 1 };

#define LIBRARY hcs_acl_runtime_library

HCS_CALLED(rtMemPoolGetAttr);

HCS_AFTER(rtMemPoolTrimTo, (void *pool, uint64_t bytes), (pool, bytes), hcs_pools_synchronized());
static const struct hcs_pool_kind pool_kind = {GROWTH_BYTES, false, &find_rtMemPoolGetAttr,
                                               &find_rtMemPoolTrimTo};

/* A pool's card need not be the current one: told when it was made. */
static struct hcs_lock pools_lock;
static struct hcs_table pools_made; /* handle -> 1 + the card's number, 0: on no card */

static void pool_made(const void *pool, bool on_a_card, uint32_t device) {
    uint64_t number = on_a_card ? (uint64_t)device + 1 : 0;
    hcs_lock(&pools_lock);
    hcs_table_put(&pools_made, HCS_KEY(pool), &number);
    hcs_unlock(&pools_lock);
}

static struct hcs_pool_place in_pool(const void *pool) {
    hcs_lock(&pools_lock);
    const uint64_t *found = hcs_table_find(&pools_made, HCS_KEY(pool));
    int device = found != NULL ? (int)*found - 1 : 0;
    hcs_unlock(&pools_lock);
    int card = found != NULL ? hcs_acl_card(device) : hcs_acl_runtime_card();
    return (struct hcs_pool_place){&pool_kind, HCS_KEY(pool), card};
}

/* A pool's end is the end of all that is still allocated from it. */
#define POOL_ENDS(FUNCTION)                                                                       \
    HCS_AROUND(FUNCTION, (void *pool), (pool),                                                    \
               uint64_t ending = hcs_pool_ending(&pool_kind, HCS_KEY(pool)),                      \
               hcs_pool_ended_with_blocks(ending))
#define FREES(FUNCTION)                                                                           \
    HCS_POOL_FREE(FUNCTION, (void *pointer), (pointer), HCS_KEY(pointer))
#define FREES_IN_STREAM(FUNCTION)                                                                 \
    HCS_POOL_FREE(FUNCTION, (void *pointer, void *stream), (pointer, stream), HCS_KEY(pointer))

struct runtime_properties { /* the part of rtMemPoolProps that says where */
    uint32_t side, device;
};

HCS_AFTER(rtMemPoolCreate, (void **pool, const struct runtime_properties *properties),
          (pool, properties),
          pool_made(*pool, properties->side == LOCATION_DEVICE, properties->device));
POOL_ENDS(rtMemPoolDestroy);
HCS_POOL_ALLOCATION(rtMemPoolMallocAsync,
                    (void **pointer, uint64_t bytes, void *pool, void *stream),
                    (pointer, bytes, pool, stream), in_pool(pool), bytes, HCS_KEY(*pointer));
FREES_IN_STREAM(rtMemPoolFreeAsync);
FREES(rtFree);
FREES(rtFreeWithDevSync);
FREES(rtsFree);
FREES(rtDvppFree);
FREES(rtMemFreeManaged);

/* The layer above. */
#undef LIBRARY
#define LIBRARY hcs_acl_library

struct pool_properties { /* the part of aclrtMemPoolProps that says where */
    int allocation_type, handle_type;
    uint32_t location_id;
    int location_type;
};

HCS_AFTER(aclrtMemPoolCreate, (void **pool, const struct pool_properties *properties),
          (pool, properties),
          pool_made(*pool, properties->location_type == LOCATION_DEVICE,
                    properties->location_id));
POOL_ENDS(aclrtMemPoolDestroy);
HCS_AFTER(aclrtMemPoolTrimTo, (void *pool, size_t bytes), (pool, bytes),
          hcs_pools_synchronized());
HCS_POOL_ALLOCATION(aclrtMemPoolMallocAsync,
                    (void **pointer, size_t bytes, void *pool, void *stream),
                    (pointer, bytes, pool, stream), in_pool(pool), bytes, HCS_KEY(*pointer));
FREES_IN_STREAM(aclrtMemPoolFreeAsync);
FREES(aclrtFree);
FREES(aclrtFreeWithDevSync);
