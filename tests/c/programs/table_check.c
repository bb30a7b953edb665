/* The table against a plain array, with random operations. Built with sanitizers. */
#include <assert.h>
#include <stdlib.h>

#include "../../../c/interceptor/table.h"

#define KEYS 5000
#define STEPS 400000

static uint64_t values[KEYS]; /* 0: not in the table */

static uint64_t key_of(unsigned i) {
    return 0x300000000000ull + 512ull * i * (i % 7 + 1) * 4096 + i;
}

static bool is_odd(uint64_t value, void *seen) {
    *(size_t *)seen += value % 2;
    return value % 2 == 1;
}

static size_t forget_odd(void) {
    size_t odd = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        odd += values[i] % 2;
        values[i] = values[i] % 2 == 1 ? 0 : values[i];
    }
    return odd;
}

int main(void) {
    struct hcs_table table = {0};
    size_t count = 0;
    srand(1);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned i = (unsigned)rand() % KEYS;
        uint64_t value = 0;
        assert((hcs_table_find(&table, key_of(i)) != NULL) == (values[i] != 0));
        if (values[i] == 0) {
            assert(!hcs_table_remove(&table, key_of(i), &value));
            value = values[i] = 1 + (uint64_t)rand();
            assert(hcs_table_put(&table, key_of(i), &value) == HCS_TABLE_ADDED);
            count++;
        } else if (step % 3 == 0) {
            value = 1 + (uint64_t)rand();
            uint64_t before = value;
            assert(hcs_table_put(&table, key_of(i), &value) == HCS_TABLE_REPLACED);
            assert(value == values[i]);
            values[i] = before;
        } else {
            assert(*hcs_table_find(&table, key_of(i)) == values[i]);
            assert(hcs_table_remove(&table, key_of(i), &value) && value == values[i]);
            values[i] = 0;
            count--;
        }
        if (step % 1000 == 0) {
            size_t odd = 0;
            hcs_table_sweep(&table, is_odd, &odd);
            assert(odd == forget_odd());
            count -= odd;
        }
        assert(table.room + count == (table.last + 1) / 8 * 3);
    }
    hcs_table_clear(&table);
    assert(table.entries == NULL && table.room == 0);
    return 0;
}
