/* The allocations of one process: address -> size, card, context. Addresses are only numbers.
 *
 * They come from a part of the address space where neither the heap nor mmap ever lands on 64-bit
 * Linux, so they never equal a host pointer. A freed address is handed out again for the next
 * block of its size, as real drivers do: whoever keeps books by address must survive that.
 */
#ifndef HCS_SIM_BLOCKS_H
#define HCS_SIM_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "card_memory.h"

/* Take memory and give it an address; 0: the card has not that much left. `context` tags it, and
 * begins with it at the latest. */
uint64_t hcs_sim_block_allocate(const struct hcs_sim_device *device, uint64_t bytes,
                                const void *context);

/* Give an address to what a pool took already, and has back when it is freed; the pool is its
 * context. */
struct hcs_sim_pool;
uint64_t hcs_sim_block_place(const struct hcs_sim_device *device, uint64_t bytes,
                             struct hcs_sim_pool *pool);

/* Free one block; false: no such block. */
bool hcs_sim_block_free(uint64_t address);

/* Make several blocks one, at the address of the first; false: one of them is no block. */
bool hcs_sim_blocks_merge(uint64_t *merged, unsigned count, const uint64_t *addresses);

/* Free every block of a context that ends, and what it took itself. */
void hcs_sim_blocks_free_context(const void *context);

#endif
