/* init_bench COUNT: start COUNT programs at the same moment, each of which initialises the runtime
 * and allocates once. Prints how long each took, in microseconds from before its exec, one a line.
 *
 * What HCS_BENCH_PRELOAD names is preloaded into them, not into this one.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int measure(const char *started_us) {
    uint64_t block;
    if (begin() != 0 || use_device(0) != 0 || kinds[0].allocate(&block, 4096) != 0) {
        return 1;
    }
    printf("%lu\n", now_us() - strtoul(started_us, NULL, 10));
    return 0;
}

static void start(pthread_barrier_t *together) {
    char started_us[32];
    const char *preload = getenv("HCS_BENCH_PRELOAD");
    if (preload != NULL) {
        setenv("LD_PRELOAD", preload, 1);
    }
    pthread_barrier_wait(together);
    snprintf(started_us, sizeof started_us, "%lu", now_us());
    execl("/proc/self/exe", "measure", started_us, (char *)NULL);
    _exit(1);
}

int main(int argc, char **argv) {
    (void)info, (void)total_of, (void)extras;
    if (argc == 2 && strcmp(argv[0], "measure") == 0) {
        return measure(argv[1]);
    }
    unsigned count = argc == 2 ? (unsigned)atoi(argv[1]) : 0;
    pthread_barrier_t *together = mmap(NULL, sizeof *together, PROT_READ | PROT_WRITE,
                                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_barrierattr_t shared;
    pthread_barrierattr_init(&shared);
    pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(together, &shared, count);
    for (unsigned i = 0; i < count; i++) {
        if (fork() == 0) {
            start(together);
        }
    }
    int status, failed = 0;
    while (wait(&status) > 0) {
        failed |= status;
    }
    return failed != 0;
}
