/* See table.h. */
#define _GNU_SOURCE
#include "table.h"

#include <errno.h>
#include <sys/mman.h>

#include "seldom.h"

#define BITS_FIRST 8 /* 256 entries, one page */
#define BITS_MAX 40

static size_t home(const struct hcs_table *table, uint64_t key) {
    return hcs_table_hash(key) >> table->shift;
}

/* Where the key is, or would be. */
static struct hcs_table_entry *place_of(const struct hcs_table *table, uint64_t key) {
    struct hcs_table_entry *entries = table->entries;
    size_t i = home(table, key);
    while (entries[i].key != key && entries[i].key != 0) {
        i = (i + 1) & table->last;
    }
    return &entries[i];
}

static bool allocate(struct hcs_table *table, unsigned bits) {
    int saved_errno = errno;
    void *memory = mmap(NULL, sizeof(struct hcs_table_entry) << bits, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    errno = saved_errno;
    if (memory == MAP_FAILED) {
        return false;
    }
    size_t size = (size_t)1 << bits;
    *table = (struct hcs_table){memory, size - 1, 64 - bits, size / 8 * 3};
    return true;
}

static HCS_SELDOM bool grow(struct hcs_table *table) {
    struct hcs_table bigger;
    unsigned bits = table->entries == NULL ? BITS_FIRST : 64 - table->shift + 1;
    if (bits > BITS_MAX || !allocate(&bigger, bits)) {
        return false;
    }
    for (size_t i = 0; table->entries != NULL && i <= table->last; i++) {
        if (table->entries[i].key != 0) {
            *place_of(&bigger, table->entries[i].key) = table->entries[i];
            bigger.room--;
        }
    }
    hcs_table_clear(table);
    *table = bigger;
    return true;
}

static struct hcs_table_entry *find(const struct hcs_table *table, uint64_t key) {
    if (table->entries == NULL || key == 0) {
        return NULL;
    }
    struct hcs_table_entry *entry = place_of(table, key);
    return entry->key == key ? entry : NULL;
}

uint64_t *hcs_table_find(const struct hcs_table *table, uint64_t key) {
    struct hcs_table_entry *entry = find(table, key);
    return entry != NULL ? &entry->value : NULL;
}

bool hcs_table_add(struct hcs_table *table, uint64_t key, uint64_t value) {
    if (table->room == 0) {
        return false;
    }
    struct hcs_table_entry *entry = place_of(table, key);
    if (entry->key == key) {
        return false;
    }
    *entry = (struct hcs_table_entry){key, value};
    table->room--;
    return true;
}

enum hcs_table_put hcs_table_put(struct hcs_table *table, uint64_t key, uint64_t *value) {
    if (table->room == 0 && !grow(table)) {
        return HCS_TABLE_NO_MEMORY;
    }
    if (hcs_table_add(table, key, *value)) {
        return HCS_TABLE_ADDED;
    }
    struct hcs_table_entry *entry = place_of(table, key);
    uint64_t before = entry->value;
    entry->value = *value;
    *value = before;
    return HCS_TABLE_REPLACED;
}

/* Close the gap at `hole`: move back each following entry that the gap lies on the way to. */
static inline void shift_back(struct hcs_table *table, size_t hole) {
    struct hcs_table_entry *entries = table->entries;
    for (size_t i = (hole + 1) & table->last; entries[i].key != 0; i = (i + 1) & table->last) {
        size_t from_home = (i - home(table, entries[i].key)) & table->last;
        if (from_home >= ((i - hole) & table->last)) {
            entries[hole] = entries[i];
            hole = i;
        }
    }
    entries[hole].key = 0;
    table->room++;
}

bool hcs_table_remove(struct hcs_table *table, uint64_t key, uint64_t *value) {
    struct hcs_table_entry *entry = find(table, key);
    if (entry == NULL) {
        return false;
    }
    *value = entry->value;
    shift_back(table, (size_t)(entry - table->entries));
    return true;
}

/* What moves into a gap comes from behind it, or was looked at already: nothing is missed. */
void hcs_table_sweep(struct hcs_table *table, bool (*chosen)(uint64_t value, void *closure),
                     void *closure) {
    for (size_t i = 0; table->entries != NULL && i <= table->last; i++) {
        while (table->entries[i].key != 0 && chosen(table->entries[i].value, closure)) {
            shift_back(table, i);
        }
    }
}

void hcs_table_clear(struct hcs_table *table) {
    int saved_errno = errno;
    if (table->entries != NULL) {
        munmap(table->entries, (table->last + 1) * sizeof *table->entries);
    }
    *table = (struct hcs_table){NULL, 0, 0, 0};
    errno = saved_errno;
}
