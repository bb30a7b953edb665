/* See table.h. */
#define _GNU_SOURCE
#include "table.h"

#include <errno.h>
#include <sys/mman.h>

#define BITS_FIRST 8 /* 256 entries, one page */
#define BITS_MAX 40

static size_t home(const struct hcs_table *table, uint64_t key) {
    return hcs_table_hash(key) >> (64 - table->bits);
}

static size_t mask(const struct hcs_table *table) { return ((size_t)1 << table->bits) - 1; }

static void place(struct hcs_table *table, struct hcs_table_entry entry) {
    size_t i = home(table, entry.key);
    while (table->entries[i].key != 0) {
        i = (i + 1) & mask(table);
    }
    table->entries[i] = entry;
    table->count++;
}

static bool allocate(struct hcs_table *table, unsigned bits) {
    int saved_errno = errno;
    void *memory = mmap(NULL, sizeof(struct hcs_table_entry) << bits, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    errno = saved_errno;
    if (memory == MAP_FAILED) {
        return false;
    }
    *table = (struct hcs_table){memory, bits, 0};
    return true;
}

static bool grow(struct hcs_table *table) {
    struct hcs_table bigger;
    unsigned bits = table->entries == NULL ? BITS_FIRST : table->bits + 1;
    if (bits > BITS_MAX || !allocate(&bigger, bits)) {
        return false;
    }
    for (size_t i = 0; table->entries != NULL && i <= mask(table); i++) {
        if (table->entries[i].key != 0) {
            place(&bigger, table->entries[i]);
        }
    }
    hcs_table_clear(table);
    *table = bigger;
    return true;
}

uint64_t *hcs_table_find(const struct hcs_table *table, uint64_t key) {
    if (table->entries == NULL || key == 0) {
        return NULL;
    }
    size_t i = home(table, key);
    while (table->entries[i].key != key) {
        if (table->entries[i].key == 0) {
            return NULL;
        }
        i = (i + 1) & mask(table);
    }
    return &table->entries[i].value;
}

bool hcs_table_add(struct hcs_table *table, uint64_t key, uint64_t value) {
    bool crowded = table->entries == NULL || table->count * 2 > mask(table);
    if (crowded && !grow(table)) {
        return false;
    }
    place(table, (struct hcs_table_entry){key, value});
    return true;
}

/* Close the gap at `hole`: move back each following entry that the gap lies on the way to. */
static void shift_back(struct hcs_table *table, size_t hole) {
    struct hcs_table_entry *entries = table->entries;
    for (size_t i = (hole + 1) & mask(table); entries[i].key != 0; i = (i + 1) & mask(table)) {
        size_t from_home = (i - home(table, entries[i].key)) & mask(table);
        if (from_home >= ((i - hole) & mask(table))) {
            entries[hole] = entries[i];
            hole = i;
        }
    }
    entries[hole].key = 0;
    table->count--;
}

bool hcs_table_remove(struct hcs_table *table, uint64_t key, uint64_t *value) {
    uint64_t *found = hcs_table_find(table, key);
    if (found == NULL) {
        return false;
    }
    *value = *found;
    shift_back(table, (size_t)(found - &table->entries[0].value) / 2);
    return true;
}

/* What moves into a gap comes from behind it, or was looked at already: nothing is missed. */
void hcs_table_sweep(struct hcs_table *table, bool (*chosen)(uint64_t value, void *closure),
                     void *closure) {
    for (size_t i = 0; table->entries != NULL && i <= mask(table); i++) {
        while (table->entries[i].key != 0 && chosen(table->entries[i].value, closure)) {
            shift_back(table, i);
        }
    }
}

void hcs_table_clear(struct hcs_table *table) {
    int saved_errno = errno;
    if (table->entries != NULL) {
        munmap(table->entries, sizeof(struct hcs_table_entry) << table->bits);
    }
    *table = (struct hcs_table){NULL, 0, 0};
    errno = saved_errno;
}
