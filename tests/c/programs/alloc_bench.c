/* alloc_bench LIVE ROUNDS: keep LIVE blocks, then do each of these ROUNDS times, in a function of
 * its own for callgrind: allocate and free one block, ask how much memory there is.
 *
 * Compiled once per runtime, as commands.c.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <valgrind/callgrind.h>

struct kind {
    const char *name;
    int (*allocate)(uint64_t *block, size_t bytes);
    int (*release)(uint64_t block);
};
struct extra {
    const char *name;
    int (*act)(void);
};
#define POINTER(block) ((void *)(uintptr_t)(block))
#define DECLARE(name, arguments) int name arguments;
#include RUNTIME

__attribute__((noinline)) int allocate_and_free(long rounds) {
    uint64_t block;
    int failures = 0;
    for (; rounds > 0; rounds--) {
        /* Many sizes, so many addresses: a few may be lucky in the tables, or not. */
        size_t bytes = 4096 * (1 + (size_t)rounds % 250);
        failures += kinds[0].allocate(&block, bytes) != 0 || kinds[0].release(block) != 0;
    }
    return failures;
}

__attribute__((noinline)) int ask(long rounds) {
    size_t free_bytes, total_bytes;
    int failures = 0;
    for (; rounds > 0; rounds--) {
        failures += info(&free_bytes, &total_bytes) != 0;
    }
    return failures;
}

int main(int argc, char **argv) {
    uint64_t block;
    if (argc != 3 || begin() != 0 || use_device(0) != 0) {
        return 2;
    }
    /* The first call makes the account. */
    if (kinds[0].allocate(&block, 4096) != 0 || kinds[0].release(block) != 0) {
        return 1;
    }
    for (long live = atol(argv[1]); live > 0; live--) {
        if (kinds[0].allocate(&block, 512) != 0) {
            return 1;
        }
    }
    long rounds = atol(argv[2]);
    CALLGRIND_START_INSTRUMENTATION; /* what went before runs at a bearable speed */
    (void)total_of;
    (void)extras;
    return allocate_and_free(rounds) != 0 || ask(rounds) != 0;
}
