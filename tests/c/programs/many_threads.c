/* many_threads THREADS BYTES: as many threads, all alive at once, allocate one block each; then
 * each frees the block of its neighbour. Prints how many got one. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int cuInit(unsigned);
int cuDevicePrimaryCtxRetain(void **, int);
int cuCtxSetCurrent(void *);
int cuMemAlloc_v2(uint64_t *, size_t);
int cuMemFree_v2(uint64_t);

#define THREADS_MAX 20000
#define STACK_BYTES (64 * 1024)

static uint64_t blocks[THREADS_MAX]; /* 0: refused */
static unsigned threads, granted;
static size_t bytes;
static void *context;
static pthread_barrier_t all_are_there, all_have_asked;

static void *run(void *number) {
    uintptr_t own = (uintptr_t)number;
    if (cuCtxSetCurrent(context) != 0) {
        abort();
    }
    pthread_barrier_wait(&all_are_there);
    if (cuMemAlloc_v2(&blocks[own], bytes) == 0) {
        __atomic_add_fetch(&granted, 1, __ATOMIC_RELAXED);
    } else {
        blocks[own] = 0;
    }
    pthread_barrier_wait(&all_have_asked);
    uint64_t neighbours = blocks[(own + 1) % threads];
    if (neighbours != 0 && cuMemFree_v2(neighbours) != 0) {
        abort();
    }
    return NULL;
}

int main(int argc, char **argv) {
    static pthread_t thread[THREADS_MAX];
    pthread_attr_t attributes;
    if (argc != 3 || cuInit(0) != 0 || cuDevicePrimaryCtxRetain(&context, 0) != 0) {
        return 2;
    }
    threads = (unsigned)atoi(argv[1]);
    bytes = strtoul(argv[2], NULL, 10);
    pthread_barrier_init(&all_are_there, NULL, threads);
    pthread_barrier_init(&all_have_asked, NULL, threads);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    for (uintptr_t i = 0; i < threads; i++) {
        if (pthread_create(&thread[i], &attributes, run, (void *)i) != 0) {
            return 3;
        }
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
    }
    printf("%u\n", granted);
    return 0;
}
