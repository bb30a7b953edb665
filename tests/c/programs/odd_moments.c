/* Allocations when nobody expects them. Each prints its name and its result.
 *
 *   early     in a library's constructor, before the interceptor's (compiled with -DLIBRARY)
 *   plain     in main
 *   closed    after the interceptor, as far as the program is concerned, was closed
 *   thread    in a thread's last moment, when its thread-local data is destroyed
 *   signal    in a signal's handler
 *   exit      in main's exit handler
 *   late      in that library's destructor, after it
 *
 * A block is freed again at once: every one of them could have the whole quota.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int cuInit(unsigned);
int cuDevicePrimaryCtxRetain(void **, int);
int cuCtxSetCurrent(void *);
int cuMemAlloc_v2(uint64_t *, size_t);
int cuMemFree_v2(uint64_t);

void allocate_at(const char *moment);

#ifdef LIBRARY

void allocate_at(const char *moment) {
    void *context;
    uint64_t pointer;
    size_t bytes = strtoull(getenv("BYTES"), NULL, 10);
    int result = cuInit(0) || cuDevicePrimaryCtxRetain(&context, 0) || cuCtxSetCurrent(context);
    result = result != 0 ? -1 : cuMemAlloc_v2(&pointer, bytes);
    if (result == 0) {
        result = cuMemFree_v2(pointer);
    }
    printf("%s %d\n", moment, result);
    fflush(stdout);
}

__attribute__((constructor)) static void early(void) { allocate_at("early"); }
__attribute__((destructor)) static void late(void) { allocate_at("late"); }

#else

static void at_exit(void) { allocate_at("exit"); }
static void on_signal(int signal) { allocate_at(signal == SIGUSR1 ? "signal" : "?"); }
static void at_the_end(void *value) { allocate_at(value); }

static void *thread(void *key) {
    pthread_setspecific(*(pthread_key_t *)key, "thread");
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t other;
    pthread_key_t key;
    allocate_at("plain");
    void *interceptor = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD) : NULL;
    for (int i = 0; interceptor != NULL && i < 100; i++) {
        dlclose(interceptor);
    }
    allocate_at("closed");
    pthread_key_create(&key, at_the_end);
    pthread_create(&other, NULL, thread, &key);
    pthread_join(other, NULL);
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    atexit(at_exit);
    return interceptor != NULL ? 0 : 1;
}

#endif
