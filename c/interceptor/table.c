/* See table.h. */
#define _GNU_SOURCE
#include "table.h"

#include <errno.h>
#include <sys/mman.h>

#define BITS_FIRST 12 /* 4,096 entries, 64 KiB */
#define BITS_MAX 40

static size_t home(const struct hcs_table *table, uint64_t address) {
    return address * UINT64_C(0x9e3779b97f4a7c15) >> (64 - table->bits);
}

static size_t mask(const struct hcs_table *table) { return ((size_t)1 << table->bits) - 1; }

static void place(struct hcs_table *table, struct hcs_table_entry entry) {
    size_t i = home(table, entry.address);
    while (table->entries[i].address != 0) {
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
        if (table->entries[i].address != 0) {
            place(&bigger, table->entries[i]);
        }
    }
    hcs_table_clear(table);
    *table = bigger;
    return true;
}

bool hcs_table_insert(struct hcs_table *table, uint64_t address, unsigned device, uint64_t bytes) {
    bool crowded = table->entries == NULL || table->count * 2 > mask(table);
    if (crowded && !grow(table)) {
        return false;
    }
    place(table, (struct hcs_table_entry){address, (uint64_t)device << 56 | bytes});
    return true;
}

/* Close the gap at `hole`: move back each following entry that the gap lies on the way to. */
static void shift_back(struct hcs_table *table, size_t hole) {
    struct hcs_table_entry *entries = table->entries;
    for (size_t i = (hole + 1) & mask(table); entries[i].address != 0; i = (i + 1) & mask(table)) {
        size_t from_home = (i - home(table, entries[i].address)) & mask(table);
        if (from_home >= ((i - hole) & mask(table))) {
            entries[hole] = entries[i];
            hole = i;
        }
    }
    entries[hole].address = 0;
}

bool hcs_table_remove(struct hcs_table *table, uint64_t address, unsigned *device,
                      uint64_t *bytes) {
    if (table->entries == NULL || address == 0) {
        return false;
    }
    size_t i = home(table, address);
    while (table->entries[i].address != address) {
        if (table->entries[i].address == 0) {
            return false;
        }
        i = (i + 1) & mask(table);
    }
    *device = (unsigned)(table->entries[i].device_and_bytes >> 56);
    *bytes = table->entries[i].device_and_bytes & HCS_TABLE_BYTES_MAX;
    shift_back(table, i);
    table->count--;
    return true;
}

void hcs_table_clear(struct hcs_table *table) {
    int saved_errno = errno;
    if (table->entries != NULL) {
        munmap(table->entries, sizeof(struct hcs_table_entry) << table->bits);
    }
    *table = (struct hcs_table){NULL, 0, 0};
    errno = saved_errno;
}
