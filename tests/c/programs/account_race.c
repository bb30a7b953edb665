/* Threads that allocate and free through the account, while contexts end. Built with the thread
 * sanitizer; prints what is still charged at the end.
 *
 *   account_race THREADS ROUNDS
 */
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../../c/interceptor/account.h"

#define BLOCKS 64
#define CONTEXT 7

static unsigned rounds;

/* Each thread has addresses of its own; every other block ends with a context that others end. */
static void *run(void *number) {
    uint64_t first = ((uint64_t)(uintptr_t)number + 1) << 32;
    for (unsigned round = 0; round < rounds; round++) {
        for (uint64_t i = 1; i <= BLOCKS; i++) {
            hcs_charge charge = hcs_reserve_in(0, i % 2 ? CONTEXT : 0, 512 * i);
            assert(charge != HCS_UNENFORCED);
            if (charge != HCS_REFUSED) {
                hcs_settle(charge, first + 512 * i);
            }
        }
        hcs_ended(0, CONTEXT);
        for (uint64_t i = 1; i <= BLOCKS; i++) {
            hcs_settle(hcs_take(first + 512 * i), 0);
        }
    }
    return NULL;
}

static uint64_t used_bytes(void) {
    unsigned slot;
    return hcs_ledger_used_bytes(hcs_account_ledger(&slot), 0);
}

/* An address that comes again was freed, whoever did it: what was there is given back. */
static void use_an_address_again(void) {
    hcs_settle(hcs_reserve(0, 1024), 512);
    hcs_settle(hcs_reserve(0, 4096), 512);
    assert(used_bytes() == 4096);
    hcs_settle(hcs_take(512), 0);
    assert(used_bytes() == 0);
}

int main(int argc, char **argv) {
    pthread_t threads[64];
    assert(argc == 3);
    use_an_address_again();
    int count = atoi(argv[1]);
    rounds = (unsigned)atoi(argv[2]);
    for (int i = 0; i < count; i++) {
        assert(pthread_create(&threads[i], NULL, run, (void *)(uintptr_t)i) == 0);
    }
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("%lu\n", used_bytes());
    return 0;
}
