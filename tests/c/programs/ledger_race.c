/* Threads (built with the thread sanitizer) and processes that reserve from one ledger, with an
 * account of their own of what they hold together. Prints how often that was too much, how often a
 * reservation was granted, and how often refused.
 *
 *   ledger_race PROCESSES THREADS ROUNDS           random sizes at random moments
 *   ledger_race PROCESSES THREADS ROUNDS together  each round all at once, with room for just one
 */
#define _GNU_SOURCE
#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Before any step of the ledger it may be somebody else's turn: few cores show few races. */
static void perhaps_yield(void) {
    static __thread uint32_t state;
    state = state != 0 ? state : (uint32_t)((uintptr_t)&state >> 4) + (uint32_t)getpid();
    state = state * 1664525u + 1013904223u;
    if ((state >> 16) % 64 == 0) {
        sched_yield();
    }
}
#define __atomic_load_n(word, order) (perhaps_yield(), __atomic_load_n(word, order))
#define __atomic_fetch_add(word, value, order)                                                     \
    (perhaps_yield(), __atomic_fetch_add(word, value, order))
#define __atomic_fetch_sub(word, value, order)                                                     \
    (perhaps_yield(), __atomic_fetch_sub(word, value, order))
#include "../../../c/interceptor/ledger.c"
#undef __atomic_load_n
#undef __atomic_fetch_add
#undef __atomic_fetch_sub

#define QUOTA_BYTES 1000u
#define THREADS_MAX 64

/* Of all processes. What is held is counted by the holders. */
static struct shared {
    struct hcs_ledger ledger;
    uint64_t held_bytes, overshoots, grants;
    pthread_barrier_t together;
} *shared;
static unsigned slot, rounds;

static bool reserve(uint64_t bytes) {
    if (!hcs_ledger_reserve(&shared->ledger, slot, 0, bytes)) {
        return false;
    }
    uint64_t held = __atomic_add_fetch(&shared->held_bytes, bytes, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&shared->overshoots, held > QUOTA_BYTES, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&shared->grants, 1, __ATOMIC_SEQ_CST);
    return true;
}

static void release(uint64_t bytes) {
    __atomic_sub_fetch(&shared->held_bytes, bytes, __ATOMIC_SEQ_CST);
    hcs_ledger_release(&shared->ledger, slot, 0, bytes);
}

static void *run_at_random(void *seed) {
    uint32_t state = (uint32_t)(uintptr_t)seed;
    for (unsigned round = 0; round < rounds; round++) {
        state = state * 1664525u + 1013904223u;
        uint64_t bytes = 1 + (state >> 8) % QUOTA_BYTES;
        if (reserve(bytes)) {
            for (volatile unsigned i = (state >> 16) % 64; i > 0; i--) {
            }
            release(bytes);
        }
    }
    return NULL;
}

static void *run_together(void *unused) {
    (void)unused;
    for (unsigned round = 0; round < rounds; round++) {
        pthread_barrier_wait(&shared->together);
        bool granted = reserve(QUOTA_BYTES - 1);
        pthread_barrier_wait(&shared->together);
        if (granted) {
            release(QUOTA_BYTES - 1);
        }
    }
    return NULL;
}

static void join(void) {
    int joined = hcs_ledger_join(&shared->ledger, hcs_process_self());
    assert(joined >= 0);
    slot = (unsigned)joined;
}

static void run_threads(void *(*run)(void *), unsigned threads, unsigned process) {
    pthread_t thread[THREADS_MAX];
    join();
    for (unsigned i = 0; i < threads; i++) {
        void *seed = (void *)(uintptr_t)(process * THREADS_MAX + i + 1);
        assert(pthread_create(&thread[i], NULL, run, seed) == 0);
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
    }
}

static void prepare(unsigned parties) {
    struct hcs_config config = {.enforced = false};
    pthread_barrierattr_t of_barrier;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(hcs_config_parse_quota("1000", NULL, &config));
    hcs_ledger_init(&shared->ledger, &config, 0, 1);
    pthread_barrierattr_init(&of_barrier);
    pthread_barrierattr_setpshared(&of_barrier, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&shared->together, &of_barrier, parties);
}

int main(int argc, char **argv) {
    assert(argc >= 4);
    unsigned processes = (unsigned)atoi(argv[1]), threads = (unsigned)atoi(argv[2]);
    void *(*run)(void *) = argc > 4 ? run_together : run_at_random;
    rounds = (unsigned)atoi(argv[3]);
    prepare(processes * threads);
    for (unsigned i = 1; i < processes; i++) {
        if (fork() == 0) {
            run_threads(run, threads, i);
            return 0;
        }
    }
    run_threads(run, threads, 0);
    int status, failed = 0;
    while (wait(&status) > 0) {
        failed |= status;
    }
    assert(failed == 0);
    assert(hcs_ledger_used_bytes(&shared->ledger, 0) == 0);
    printf("%lu %lu %lu\n", shared->overshoots, shared->grants,
           shared->ledger.devices[0].refusals);
    return 0;
}
