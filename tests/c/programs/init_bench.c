/* init_bench start COUNT: execute COUNT programs at the same moment, each of which initialises the
 * runtime and asks for the size of a card. Prints how long each took, in microseconds from before
 * its exec, one a line.
 *
 *   init_bench call COUNT: the same, but all wait for each other before they ask; how long only
 *   that took each of them, in microseconds. It is what makes the account.
 *
 * What HCS_BENCH_PRELOAD names is preloaded into them, not into this one.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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

/* Each writes a byte into `READY` when it is there, and waits for the end of `SHOT`. */
enum { READY = 10, SHOT = 11 };

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void wait_for_the_others(void) {
    char unused = 0;
    if (write(READY, &unused, 1) != 1 || read(SHOT, &unused, 1) != 0) {
        _exit(1);
    }
}

static int measure(const char *started_us) {
    size_t bytes;
    if (begin() != 0 || use_device(0) != 0) {
        return 1;
    }
    uint64_t from_us = strtoul(started_us, NULL, 10);
    if (from_us == 0) {
        wait_for_the_others();
        from_us = now_us();
    }
    if (total_of(&bytes, 0) != 0) {
        return 1;
    }
    printf("%lu\n", now_us() - from_us);
    return 0;
}

static void start(int from_exec) {
    char started_us[32];
    const char *preload = getenv("HCS_BENCH_PRELOAD");
    if (preload != NULL) {
        setenv("LD_PRELOAD", preload, 1);
    }
    if (from_exec) {
        wait_for_the_others();
    }
    snprintf(started_us, sizeof started_us, "%lu", from_exec ? now_us() : 0);
    execl("/proc/self/exe", "measure", started_us, (char *)NULL);
    _exit(1);
}

int main(int argc, char **argv) {
    (void)info, (void)kinds, (void)extras;
    if (argc == 2 && strcmp(argv[0], "measure") == 0) {
        return measure(argv[1]);
    }
    int ready[2], shot[2], count = argc == 3 ? atoi(argv[2]) : 0, status, failed = 0;
    if (count == 0 || pipe(ready) != 0 || pipe2(shot, O_CLOEXEC) != 0 ||
        dup2(ready[1], READY) < 0 || dup2(shot[0], SHOT) < 0) {
        return 2;
    }
    for (int i = 0; i < count; i++) {
        if (fork() == 0) {
            close(shot[1]);
            start(strcmp(argv[1], "start") == 0);
        }
    }
    for (char unused; count > 0 && read(ready[0], &unused, 1) == 1; count--) {
    }
    close(shot[1]);
    while (wait(&status) > 0) {
        failed |= status;
    }
    return failed != 0;
}
