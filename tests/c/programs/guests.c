/* Programs with habits that a library in them must not mind. Each ends with 0 if it was left alone.
 *
 *   closed          has closed its standard descriptors, and writes to one of them
 *   thread_storage  has more thread-local data than a thread of ours usually has stack
 *   fork            forks while another of its threads makes the process's first call
 *   pools           makes more pools than anybody should, each with a block that it frees again
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define POOLS 300
#define RELEASE_THRESHOLD 4

struct properties { int type, handle_types, location_type, location_id; char rest[72]; };

int cuInit(unsigned);
int cuDevicePrimaryCtxRetain(void **, int);
int cuCtxSetCurrent(void *);
int cuMemAlloc_v2(uint64_t *, size_t);
int cuMemPoolCreate(void **, const struct properties *);
int cuMemPoolSetAttribute(void *, int, void *);
int cuMemAllocFromPoolAsync(uint64_t *, size_t, void *, void *);
int cuMemFreeAsync(uint64_t, void *);

static int begin(void) {
    void *context;
    return cuInit(0) || cuDevicePrimaryCtxRetain(&context, 0) || cuCtxSetCurrent(context);
}

static int allocate(void) {
    uint64_t pointer;
    return cuMemAlloc_v2(&pointer, MIB);
}

/* Until the agent was told of us, and says so by ending our standard input. */
static void wait_to_be_heard(int input) {
    char byte;
    while (read(input, &byte, 1) > 0 || errno == EINTR) {
    }
}

static int closed(void) {
    int input = dup(0);
    for (int fd = 0; fd < 3; fd++) {
        close(fd);
    }
    int failed = begin() || allocate();
    wait_to_be_heard(input);
    return failed || write(1, "secret", 6) != -1 || errno != EBADF;
}

static __thread char storage[400 * 1024];

static int thread_storage(void) {
    memset(storage, 1, sizeof storage);
    int failed = begin() || allocate();
    wait_to_be_heard(0);
    return failed;
}

/* The C library's, made slow: a thread that is in it may hold something. */
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void),
                      void *object) {
    int (*real)(void (*)(void), void (*)(void), void (*)(void), void *) =
        dlsym(RTLD_NEXT, "__register_atfork");
    usleep(100000);
    return real(prepare, parent, child, object);
}

static void *first_call(void *unused) {
    allocate();
    return unused;
}

static int fork_meanwhile(void) {
    pthread_t other;
    int status, failed = begin();
    pthread_create(&other, NULL, first_call, NULL);
    usleep(30000);
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        allocate(); /* whatever comes of it: it comes back */
        _exit(0);
    }
    waitpid(child, &status, 0);
    pthread_join(other, NULL);
    return failed || status != 0;
}

static int pools(void) {
    struct properties properties = {.type = 1, .location_type = 1};
    uint64_t keep_all = UINT64_MAX, block;
    int failed = begin();
    for (int i = 0; !failed && i < POOLS; i++) {
        void *pool;
        failed = cuMemPoolCreate(&pool, &properties) ||
                 cuMemPoolSetAttribute(pool, RELEASE_THRESHOLD, &keep_all) ||
                 cuMemAllocFromPoolAsync(&block, MIB, pool, NULL) || cuMemFreeAsync(block, NULL);
    }
    return failed;
}

int main(int argc, char **argv) {
    const char *habit = argc > 1 ? argv[1] : "";
    return strcmp(habit, "closed") == 0           ? closed()
           : strcmp(habit, "thread_storage") == 0 ? thread_storage()
           : strcmp(habit, "fork") == 0           ? fork_meanwhile()
           : strcmp(habit, "pools") == 0          ? pools()
                                                  : 2;
}
