/* What is charged for a process's overhead, beside a driver of which everything is known.
 *
 *   overhead_check story SEED STEPS      one thread: each step of an allocation, of a free, of the
 *                                        driver's list and of the word about it at random, contexts
 *                                        that begin and end, words late, twice and never
 *   overhead_check race THREADS WORDS    threads that allocate and free while words come
 *
 * It aborts when more is charged than the overhead was; prints how many words were heard, how many
 * of them found all of it, and what was charged at most. Built with sanitizers.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

/* Around each look at the clock it may be somebody else's turn. */
#define clock_gettime(clock, now) (sched_yield(), clock_gettime(clock, now), sched_yield())
#include "../../../c/interceptor/overhead.c"
#undef clock_gettime

#define QUOTA_BYTES (UINT64_C(1) << 40)
#define CONTEXT_BYTES 1000000u
#define BYTES_MAX 5000000u
#define BLOCKS_MAX 16

static struct hcs_ledger ledger;
static uint64_t random_state;
static uint64_t heard, exact, charged_most;

static uint32_t below(uint32_t limit) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % limit;
}

static void begin(void) {
    struct hcs_config config = {.device_count = 1, .quota_bytes = {QUOTA_BYTES}};
    hcs_ledger_init(&ledger, &config, 1, 1);
    ledger.slots_used = 1;
    hcs_overhead_begin(&ledger, 0);
}

static uint64_t charged(void) { return cards[0].charged_bytes; }

static bool tell(uint64_t looked_at_ns, uint64_t used_bytes) {
    struct hcs_wire_driver word = {
        .looked_at_ns = looked_at_ns, .device_count = 1, .used_bytes = {used_bytes}};
    unsigned words = cards[0].words;
    hcs_overhead_heed(&ledger, 0, &word);
    charged_most = charged() > charged_most ? charged() : charged_most;
    heard += cards[0].words != words;
    return cards[0].words != words;
}

/* --- One thread ------------------------------------------------------------------------------ */

enum state { NOWHERE, RESERVED, ALLOCATED, FREED }; /* what a hook goes through, one by one */
static struct { enum state state; uint64_t bytes; } blocks[BLOCKS_MAX];
static uint64_t driver_bytes, contexts;
static uint64_t reserved_bytes;

static struct word {
    uint64_t looked_at_ns, used_bytes, overhead_bytes;
    bool asked, void_now; /* we have heard since that a context ended */
} words[4];
static unsigned word_count;
static uint64_t believed[WORDS]; /* the overheads of the words that count */

static void step_block(unsigned number) {
    uint64_t bytes = blocks[number].bytes;
    switch (blocks[number].state) {
    case NOWHERE:
        blocks[number].bytes = bytes = 1 + below(BYTES_MAX);
        assert(hcs_ledger_reserve(&ledger, 0, 0, bytes));
        reserved_bytes += bytes;
        break;
    case RESERVED: driver_bytes += bytes; break;
    case ALLOCATED: driver_bytes -= bytes; break;
    case FREED:
        hcs_ledger_release(&ledger, 0, 0, bytes);
        reserved_bytes -= bytes;
        break;
    }
    blocks[number].state = (blocks[number].state + 1) % (FREED + 1);
}

static void ask_or_tell(void) {
    struct word *word = &words[below(word_count + 1)];
    if (word == words + word_count) {
        if (word_count < sizeof words / sizeof *words) {
            words[word_count++] = (struct word){.looked_at_ns = monotonic_ns()};
        }
        return;
    }
    if (!word->asked) {
        uint64_t overhead_bytes = contexts * CONTEXT_BYTES;
        word->used_bytes = driver_bytes + overhead_bytes;
        word->overhead_bytes = overhead_bytes;
        word->asked = true;
        return;
    }
    if (below(4) > 0 && tell(word->looked_at_ns, word->used_bytes)) {
        assert(!word->void_now);
        assert(word->used_bytes > 0 || charged() == 0); /* we are not on the card */
        believed[heard % WORDS] = word->overhead_bytes;
        exact += charged() == word->overhead_bytes;
    }
    if (below(4) > 0) { /* else it comes once more, or later */
        *word = words[--word_count];
    }
}

/* A context may end without our hearing of it, if it allocated nothing. */
static void change_contexts(void) {
    if (contexts == 0 || below(2) > 0) {
        contexts += contexts < 3;
        return;
    }
    contexts--;
    if (below(2) > 0) {
        hcs_overhead_ended(&ledger, 0, 0);
        assert(charged() == 0);
        memset(believed, 0, sizeof believed);
        for (unsigned i = 0; i < word_count; i++) {
            words[i].void_now = true;
        }
    }
}

/* A while of quiet: what was begun is ended, or all is freed. */
static void finish_blocks(void) {
    bool all = below(4) == 0;
    for (unsigned number = 0; number < BLOCKS_MAX; number++) {
        while (all && blocks[number].state != NOWHERE) {
            step_block(number);
        }
        if (blocks[number].state == RESERVED || blocks[number].state == FREED) {
            step_block(number);
        }
    }
}

static void story(unsigned steps) {
    uint32_t busy = 0; /* in a hundred steps of a while */
    for (unsigned step = 0; step < steps; step++) {
        uint32_t what = below(100);
        if (step % 64 == 0) {
            busy = below(2) * 70;
            finish_blocks();
        }
        if (what < busy) {
            step_block(below(1 + below(BLOCKS_MAX)));
        } else if (what < 98) {
            ask_or_tell();
        } else {
            change_contexts();
        }
        uint64_t most = 0;
        for (unsigned i = 0; i < WORDS; i++) {
            most = believed[i] > most ? believed[i] : most;
        }
        assert(charged() <= most);
        assert(hcs_ledger_used_bytes(&ledger, 0) == reserved_bytes + charged());
        assert(ledger.devices[0].peak_bytes >= reserved_bytes + charged());
    }
}

/* --- Threads --------------------------------------------------------------------------------- */

static bool over;

static void *allocate_and_free(void *number) {
    uint32_t state = (uint32_t)(uintptr_t)number * 2654435761u + 1;
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
        state = state * 1664525u + 1013904223u;
        uint64_t bytes = 1 + (state >> 8) % BYTES_MAX;
        assert(hcs_ledger_reserve(&ledger, 0, 0, bytes));
        __atomic_add_fetch(&driver_bytes, bytes, __ATOMIC_SEQ_CST);
        if ((state >> 16) % 16 == 0) {
            sched_yield();
        }
        __atomic_sub_fetch(&driver_bytes, bytes, __ATOMIC_SEQ_CST);
        hcs_ledger_release(&ledger, 0, 0, bytes);
    }
    return NULL;
}

/* The agent: whatever it asked the driver last is told. */
static uint64_t seen_at_ns, seen_bytes;
static pthread_mutex_t seen_mutex = PTHREAD_MUTEX_INITIALIZER;

static void *look(void *unused) {
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
        uint64_t looked_at_ns = monotonic_ns();
        uint64_t used_bytes = CONTEXT_BYTES + __atomic_load_n(&driver_bytes, __ATOMIC_SEQ_CST);
        pthread_mutex_lock(&seen_mutex);
        seen_at_ns = looked_at_ns;
        seen_bytes = used_bytes;
        pthread_mutex_unlock(&seen_mutex);
    }
    return unused;
}

static void race(unsigned count, unsigned told) {
    pthread_t looker, threads[64];
    assert(count <= sizeof threads / sizeof *threads);
    assert(pthread_create(&looker, NULL, look, NULL) == 0);
    for (unsigned i = 0; i < count; i++) {
        assert(pthread_create(&threads[i], NULL, allocate_and_free, (void *)(uintptr_t)i) == 0);
    }
    while (heard < told) {
        pthread_mutex_lock(&seen_mutex);
        uint64_t looked_at_ns = seen_at_ns, used_bytes = seen_bytes;
        pthread_mutex_unlock(&seen_mutex);
        tell(looked_at_ns, used_bytes);
        assert(charged() <= CONTEXT_BYTES);
        exact += charged() == CONTEXT_BYTES;
    }
    __atomic_store_n(&over, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
    pthread_join(looker, NULL);
    tell(monotonic_ns(), CONTEXT_BYTES); /* of a span in which they still worked */
    tell(monotonic_ns(), CONTEXT_BYTES);
    assert(charged() == CONTEXT_BYTES);
    assert(hcs_ledger_used_bytes(&ledger, 0) == CONTEXT_BYTES);
}

int main(int argc, char **argv) {
    assert(argc == 4);
    begin();
    if (argv[1][0] == 's') {
        random_state = strtoull(argv[2], NULL, 10);
        story((unsigned)atoi(argv[3]));
    } else {
        race((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]));
    }
    printf("%lu %lu %lu\n", heard, exact, charged_most);
    return 0;
}
