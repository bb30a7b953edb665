/* What the simulated libmusa.so allocates in streams: from pools (pools.h). */
#include <stdbool.h>

#include "blocks.h"
#include "musa.h"
#include "pools.h"
#include "runtime_cards.h"

#define GRANULARITY_BYTES 512
#define STEP_BYTES (2u << 20) /* a chunk */

enum { LOCATION_DEVICE = 1 };

static MUresult done(bool possible) { return possible ? MUSA_SUCCESS : MUSA_ERROR_INVALID_VALUE; }

HCS_EXPORT MUresult muDeviceGetMemPool(void **pool, int device) {
    *pool = hcs_sim_pool_of(hcs_sim_card(device), STEP_BYTES);
    return *pool != NULL ? MUSA_SUCCESS : MUSA_ERROR_INVALID_DEVICE;
}

HCS_EXPORT MUresult muMemPoolCreate(void **pool, const struct pool_properties *properties) {
    bool sane = pool != NULL && properties != NULL && properties->location_type == LOCATION_DEVICE;
    const struct hcs_sim_device *card = sane ? hcs_sim_card(properties->location_id) : NULL;
    if (card == NULL) {
        return MUSA_ERROR_INVALID_VALUE;
    }
    *pool = hcs_sim_pool_create(card, STEP_BYTES);
    return *pool != NULL ? MUSA_SUCCESS : MUSA_ERROR_OUT_OF_MEMORY;
}

HCS_EXPORT MUresult muMemPoolDestroy(void *pool) { return done(hcs_sim_pool_destroy(pool)); }

HCS_EXPORT MUresult muMemPoolGetAttribute(void *pool, int attribute, void *value) {
    return done(hcs_sim_pool_attribute(pool, attribute, value));
}

HCS_EXPORT MUresult muMemPoolTrimTo(void *pool, size_t bytes) {
    return done(hcs_sim_pool_trim(pool, bytes));
}

/* What is stream-ordered happens at once: nothing here takes time. */
HCS_EXPORT MUresult muMemAllocFromPoolAsync(uint64_t *pointer, size_t bytes, void *pool,
                                            void *stream) {
    (void)stream;
    if (pointer == NULL || bytes > SIZE_MAX - STEP_BYTES) {
        return pointer == NULL ? MUSA_ERROR_INVALID_VALUE : MUSA_ERROR_OUT_OF_MEMORY;
    }
    uint64_t rounded = (bytes + GRANULARITY_BYTES - 1) / GRANULARITY_BYTES * GRANULARITY_BYTES;
    uint64_t address = hcs_sim_pool_allocate(pool, rounded);
    *pointer = address != 0 ? address : *pointer;
    return address != 0 ? MUSA_SUCCESS : MUSA_ERROR_OUT_OF_MEMORY;
}

HCS_EXPORT MUresult muMemAllocAsync(uint64_t *pointer, size_t bytes, void *stream) {
    MUcontext context;
    int device;
    void *pool;
    MUresult result = muStreamGetCtx(stream, &context);
    if (result == MUSA_SUCCESS) {
        muCtxPushCurrent_v2(context);
        result = muCtxGetDevice(&device);
        muCtxPopCurrent_v2(&context);
    }
    result = result == MUSA_SUCCESS ? muDeviceGetMemPool(&pool, device) : result;
    return result == MUSA_SUCCESS ? muMemAllocFromPoolAsync(pointer, bytes, pool, stream) : result;
}

HCS_EXPORT MUresult muMemFreeAsync(uint64_t pointer, void *stream) {
    (void)stream;
    return muMemFree_v2(pointer);
}

/* The same in the thread's own stream. */
HCS_EXPORT MUresult muMemAllocAsync_ptsz(uint64_t *pointer, size_t bytes, void *stream) {
    return muMemAllocAsync(pointer, bytes, stream);
}
HCS_EXPORT MUresult muMemAllocFromPoolAsync_ptsz(uint64_t *pointer, size_t bytes, void *pool,
                                                 void *stream) {
    return muMemAllocFromPoolAsync(pointer, bytes, pool, stream);
}
HCS_EXPORT MUresult muMemFreeAsync_ptsz(uint64_t pointer, void *stream) {
    return muMemFreeAsync(pointer, stream);
}
