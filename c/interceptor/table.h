/* A word for a word: open addressing, constant time with 0 or 10^6 entries.
 *
 * Deletion shifts the following entries back, so no tombstones pile up. The memory is mapped, not
 * malloc'ed: we may be called from inside somebody's allocator. Not thread-safe: the callers lock.
 */
#ifndef HCS_TABLE_H
#define HCS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hcs_table_entry {
    uint64_t key;   /* 0: empty */
    uint64_t value;
};

struct hcs_table {
    struct hcs_table_entry *entries; /* NULL: no memory yet */
    size_t last;                     /* index: the number of entries, a power of two, less one */
    unsigned shift;                  /* of a hash, to an index */
    size_t room;                     /* keys to add before it must grow */
};

/* The value of a key, to read or to change until the next put or remove; NULL: not there. */
uint64_t *hcs_table_find(const struct hcs_table *table, uint64_t key);

enum hcs_table_put {
    HCS_TABLE_ADDED,
    HCS_TABLE_REPLACED, /* `value` is now the one before */
    HCS_TABLE_NO_MEMORY,
};

/* Set the value of a key, which is not 0. */
enum hcs_table_put hcs_table_put(struct hcs_table *table, uint64_t key, uint64_t *value);

/* Add a key that is not there yet, if there is room; false: not done. */
bool hcs_table_add(struct hcs_table *table, uint64_t key, uint64_t value);

/* Remove a key and say what its value was; false: not there. */
bool hcs_table_remove(struct hcs_table *table, uint64_t key, uint64_t *value);

/* Remove every entry whose value `chosen` says yes to. */
void hcs_table_sweep(struct hcs_table *table, bool (*chosen)(uint64_t value, void *closure),
                     void *closure);

/* Remove everything and give the memory back. */
void hcs_table_clear(struct hcs_table *table);

/* Spreads keys, which differ only in a few of their bits, over all bits. */
static inline uint64_t hcs_table_hash(uint64_t key) { return key * UINT64_C(0x9e3779b97f4a7c15); }

#endif
