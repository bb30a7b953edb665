/* many_blocks BYTES: allocate blocks of so many bytes until refused, then free some and allocate
 * them again. Prints how many there were, how much resident memory of the process came with them,
 * and how many came again. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cuInit(unsigned);
int cuDevicePrimaryCtxRetain(void **, int);
int cuCtxSetCurrent(void *);
int cuMemAlloc_v2(uint64_t *, size_t);
int cuMemFree_v2(uint64_t);

#define BLOCKS_MAX 4000000
#define AGAIN 1000

static uint64_t blocks[BLOCKS_MAX];

static long resident_kib(void) {
    char line[256];
    long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL) {
        sscanf(line, "VmRSS: %ld kB", &kib);
    }
    fclose(status);
    return kib;
}

int main(int argc, char **argv) {
    void *context;
    size_t count = 0;
    if (argc != 2 || cuInit(0) != 0 || cuDevicePrimaryCtxRetain(&context, 0) != 0 ||
        cuCtxSetCurrent(context) != 0) {
        return 2;
    }
    size_t bytes = strtoul(argv[1], NULL, 10);
    memset(blocks, 1, sizeof blocks); /* resident from here on */
    long before_kib = resident_kib();
    while (count < BLOCKS_MAX && cuMemAlloc_v2(&blocks[count], bytes) == 0) {
        count++;
    }
    long more_kib = resident_kib() - before_kib;
    unsigned again = 0;
    for (size_t i = 0; i < AGAIN && i < count; i++) {
        uint64_t *block = &blocks[i * 7919 % count];
        again += cuMemFree_v2(*block) == 0 && cuMemAlloc_v2(block, bytes) == 0;
    }
    printf("%zu %ld %u\n", count, more_kib, again);
    return 0;
}
