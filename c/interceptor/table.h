/* Address -> what was charged for it: open addressing, constant time with 0 or 10^6 entries.
 *
 * Deletion shifts the following entries back, so no tombstones pile up. The memory is mapped, not
 * malloc'ed: we may be called from inside somebody's allocator. Not thread-safe: account.c locks.
 */
#ifndef HCS_TABLE_H
#define HCS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HCS_TABLE_BYTES_MAX ((UINT64_C(1) << 56) - 1) /* a size shares its word with the card */

struct hcs_table_entry {
    uint64_t address; /* 0: empty */
    uint64_t device_and_bytes;
};

struct hcs_table {
    struct hcs_table_entry *entries; /* NULL: no memory yet */
    unsigned bits;                   /* 2^bits entries */
    size_t count;
};

/* Remember an address that is not in the table; false: no memory to grow. */
bool hcs_table_insert(struct hcs_table *table, uint64_t address, unsigned device, uint64_t bytes);

/* Forget an address and say what it was; false: never heard of it. */
bool hcs_table_remove(struct hcs_table *table, uint64_t address, unsigned *device,
                      uint64_t *bytes);

/* Forget everything and give the memory back. */
void hcs_table_clear(struct hcs_table *table);

#endif
