/* What this process holds: address -> what was charged for it, in shards of their own locks.
 *
 * Sixty-four, so that threads rarely wait for each other, and a table that grows moves only its
 * share: with 10^6 blocks some 10^4 entries. The locks are this process's alone; after a fork the
 * child begins with none of the parent's blocks, whatever state the locks were in.
 */
#ifndef HCS_BLOCKS_H
#define HCS_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "table.h"
#include "wire.h"

/* A block in a word, never 0: how much, of which card, and what context it ends with (0: it
 * outlives every context, but not the card's reset; HCS_CONTEXT_NONE: that, too). */
typedef uint64_t hcs_block;

#define HCS_BLOCK_BYTES_BITS 47
#define HCS_BLOCK_DEVICE_BITS 4
#define HCS_BLOCK_CONTEXT_BITS 12
#define HCS_BLOCK_MARK (UINT64_C(1) << 63)
#define HCS_CONTEXTS_MAX ((1u << HCS_BLOCK_CONTEXT_BITS) - 1)
#define HCS_CONTEXT_NONE HCS_CONTEXTS_MAX

_Static_assert(HCS_BLOCK_BYTES_BITS + HCS_BLOCK_DEVICE_BITS + HCS_BLOCK_CONTEXT_BITS == 63, "word");
_Static_assert(HCS_WIRE_DEVICES_MAX <= 1 << HCS_BLOCK_DEVICE_BITS, "cards fit");

static inline hcs_block hcs_block_of(uint64_t bytes, unsigned device, unsigned context) {
    return HCS_BLOCK_MARK | bytes | (uint64_t)device << HCS_BLOCK_BYTES_BITS |
           (uint64_t)context << (HCS_BLOCK_BYTES_BITS + HCS_BLOCK_DEVICE_BITS);
}

static inline uint64_t hcs_block_bytes(hcs_block block) {
    return block & ((UINT64_C(1) << HCS_BLOCK_BYTES_BITS) - 1);
}

static inline unsigned hcs_block_device(hcs_block block) {
    return block >> HCS_BLOCK_BYTES_BITS & ((1u << HCS_BLOCK_DEVICE_BITS) - 1);
}

static inline unsigned hcs_block_context(hcs_block block) {
    return block >> (HCS_BLOCK_BYTES_BITS + HCS_BLOCK_DEVICE_BITS) &
           ((1u << HCS_BLOCK_CONTEXT_BITS) - 1);
}

/* Remember a block. Returns the one that it replaces, whose end escaped us, as its address was used
 * again; 0: none. */
hcs_block hcs_blocks_put(uint64_t address, hcs_block block);

/* Forget an address and return what was there; 0: never heard of it. */
hcs_block hcs_blocks_take(uint64_t address);

/* Forget all blocks of a card and context (0: of any that ends) and add up their bytes. */
uint64_t hcs_blocks_take_all(unsigned device, unsigned context);

/* Forget everything, after a fork in the child. */
void hcs_blocks_forget(void);

#endif
