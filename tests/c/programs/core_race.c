/* Everything behind the hooks at once: threads that allocate, free, look and end contexts, and
 * processes that do the same with the same ledger, while an agent is told. Built with sanitizers.
 *
 *   core_race PROCESSES THREADS ROUNDS   prints what is still charged at the end, and refusals
 *
 * (With the thread sanitizer one process: it cannot see what others do.)
 */
#define _GNU_SOURCE
#include <assert.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../c/interceptor/account.h"
#include "../../../c/interceptor/cards.h"
#include "../../../c/interceptor/config.h"
#include "../../../c/interceptor/handles.h"
#include "../../../c/interceptor/symbols.h"

#define THREADS_MAX 64
#define ADDRESSES 64
#define CARDS 2
#define CONTEXT 7
#define MAPPING_BYTES 4096
#define SHARED_ADDRESSES (UINT64_C(1) << 40) /* all threads' */
#define OWN_ADDRESSES (UINT64_C(2) << 40)

static unsigned rounds;

/* There is no runtime here. (And the real lookup, being a dlsym, would be the sanitizers' own.) */
void *hcs_resolve(struct hcs_symbol *symbol) { return symbol->real; }

static int find_card(int number) { return hcs_cards_listed("CUDA_VISIBLE_DEVICES", number); }
static struct hcs_cards cards = {.find = find_card};

static uint32_t next(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* An address that another thread may use as well: whoever comes second replaces the first. */
static void allocate(uint32_t *state) {
    uint64_t address = SHARED_ADDRESSES + 512 * (1 + next(state) % ADDRESSES);
    int card = hcs_cards_position(&cards, (int)(next(state) % CARDS));
    hcs_charge charge = hcs_reserve_in(card, next(state) % 2 ? CONTEXT : 0, next(state) % 65536);
    assert(charge != HCS_UNENFORCED);
    if (charge != HCS_REFUSED) {
        hcs_settle(charge, next(state) % 8 == 0 ? 0 : address);
    }
}

static void release(uint32_t *state) {
    uint64_t address = SHARED_ADDRESSES + 512 * (1 + next(state) % ADDRESSES);
    hcs_charge charge = hcs_take(address);
    hcs_settle(charge, next(state) % 8 == 0 ? address : 0); /* the runtime may refuse a free */
}

/* Physical memory with one mapping more than its creator, dropped in either order. */
static void map(uint64_t handle, bool creator_first) {
    hcs_charge charge = hcs_reserve(0, MAPPING_BYTES);
    if (charge == HCS_REFUSED) {
        return;
    }
    hcs_settle(charge, hcs_handle_created(handle));
    hcs_handle_retained(handle);
    hcs_handle_mapped(handle, handle + 1, MAPPING_BYTES);
    hcs_settle(hcs_handle_release(handle), 0);
    if (creator_first) {
        hcs_settle(hcs_handle_release(handle), 0);
    }
    struct hcs_unmapped unmapped = hcs_handle_unmap(handle + 1, MAPPING_BYTES);
    hcs_handle_give_back(&unmapped);
    if (!creator_first) {
        hcs_settle(hcs_handle_release(handle), 0);
    }
}

static void look(void) {
    uint64_t free_bytes = UINT64_MAX, total_bytes = UINT64_MAX;
    hcs_show_quota(0, &free_bytes, &total_bytes);
    assert(total_bytes == hcs_config()->quota_bytes[0] && free_bytes <= total_bytes);
}

static void *run(void *number) {
    uint32_t state = (uint32_t)(uintptr_t)number * 2654435761u + (uint32_t)getpid();
    uint64_t own = OWN_ADDRESSES + ((uint64_t)(uintptr_t)number << 32);
    for (unsigned round = 0; round < rounds; round++) {
        bool outermost = hcs_enter();
        assert(outermost && !hcs_enter());
        switch (next(&state) % 16) {
        case 0: hcs_ended((int)(next(&state) % CARDS), CONTEXT); break;
        case 1: look(); break;
        case 2: map(own, next(&state) % 2 == 0); break;
        default: next(&state) % 2 ? allocate(&state) : release(&state); break;
        }
        hcs_leave();
    }
    return NULL;
}

static void run_threads(unsigned threads) {
    pthread_t thread[THREADS_MAX];
    for (uintptr_t i = 0; i < threads; i++) {
        assert(pthread_create(&thread[i], NULL, run, (void *)i) == 0);
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
    }
    for (int card = 0; card < CARDS; card++) {
        hcs_ended(card, 0);
    }
}

int main(int argc, char **argv) {
    unsigned slot;
    assert(argc == 4);
    unsigned processes = (unsigned)atoi(argv[1]), threads = (unsigned)atoi(argv[2]);
    assert(threads <= THREADS_MAX);
    rounds = (unsigned)atoi(argv[3]);
    for (unsigned i = 1; i < processes; i++) {
        /* Before there are threads: the sanitizers' own allocator does not survive it later. */
        if (fork() == 0) {
            run_threads(threads);
            return 0;
        }
    }
    run_threads(threads);
    int status, failed = 0;
    while (wait(&status) > 0) {
        failed |= status;
    }
    assert(failed == 0);
    struct hcs_ledger *ledger = hcs_account_ledger(&slot);
    uint64_t refusals = ledger->devices[0].refusals;
    uint64_t used = hcs_ledger_used_bytes(ledger, 0) + hcs_ledger_used_bytes(ledger, 1);
    printf("%lu %lu\n", used, refusals);
    return 0;
}
