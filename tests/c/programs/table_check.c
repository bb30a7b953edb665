/* The address table against a plain array, with random operations. Built with sanitizers. */
#include <assert.h>
#include <stdlib.h>

#include "../../../c/interceptor/table.h"

#define ADDRESSES 5000
#define STEPS 400000

int main(void) {
    static uint64_t bytes_of[ADDRESSES]; /* 0: not in the table */
    struct hcs_table table = {0};
    size_t count = 0;
    srand(1);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned i = (unsigned)rand() % ADDRESSES;
        uint64_t address = 0x300000000000ull + 512ull * i * (i % 7 + 1) * 4096 + i;
        unsigned device = 99;
        uint64_t bytes = 0;
        if (bytes_of[i] == 0) {
            assert(!hcs_table_remove(&table, address, &device, &bytes));
            bytes_of[i] = 1 + (uint64_t)rand();
            assert(hcs_table_insert(&table, address, i % 16, bytes_of[i]));
            count++;
        } else {
            assert(hcs_table_remove(&table, address, &device, &bytes));
            assert(device == i % 16 && bytes == bytes_of[i]);
            bytes_of[i] = 0;
            count--;
        }
        assert(table.count == count);
    }
    hcs_table_clear(&table);
    assert(table.count == 0);
    return 0;
}
