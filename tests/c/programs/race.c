/* ROUNDS times: allocate blocks of BYTES until refused, free them again. Prints the blocks got. */
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

#define BLOCKS_MAX 4096
static unsigned long rounds;
static size_t bytes;
static void *context;

static void *run(void *unused) {
    (void)unused;
    static __thread uint64_t blocks[BLOCKS_MAX];
    unsigned long got = 0;
    cuCtxSetCurrent(context);
    for (unsigned long round = 0; round < rounds; round++) {
        size_t count = 0;
        while (count < BLOCKS_MAX && cuMemAlloc_v2(&blocks[count], bytes) == 0) {
            count++;
        }
        got += count;
        while (count > 0) {
            if (cuMemFree_v2(blocks[--count]) != 0) {
                abort();
            }
        }
    }
    return (void *)got;
}

int main(int argc, char **argv) {
    if (argc != 4 || cuInit(0) != 0 || cuDevicePrimaryCtxRetain(&context, 0) != 0) {
        return 2;
    }
    unsigned threads = (unsigned)atoi(argv[1]);
    rounds = strtoul(argv[2], NULL, 10);
    bytes = strtoul(argv[3], NULL, 10);
    pthread_t thread[64];
    unsigned long got = 0;
    getchar(); /* the starting shot */
    for (unsigned i = 0; i < threads; i++) {
        pthread_create(&thread[i], NULL, run, NULL);
    }
    for (unsigned i = 0; i < threads; i++) {
        void *result;
        pthread_join(thread[i], &result);
        got += (unsigned long)result;
    }
    printf("%lu\n", got);
    return 0;
}
