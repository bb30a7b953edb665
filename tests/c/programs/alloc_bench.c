/* alloc_bench LIVE PAIRS: keep LIVE blocks, then allocate and free one block PAIRS times. */
#include <stdint.h>
#include <stdlib.h>

int cuInit(unsigned);
int cuDevicePrimaryCtxRetain(void **, int);
int cuCtxSetCurrent(void *);
int cuMemAlloc_v2(uint64_t *, size_t);
int cuMemFree_v2(uint64_t);

int main(int argc, char **argv) {
    void *context;
    uint64_t block;
    if (argc != 3 || cuInit(0) != 0 || cuDevicePrimaryCtxRetain(&context, 0) != 0 ||
        cuCtxSetCurrent(context) != 0) {
        return 2;
    }
    for (long live = atol(argv[1]); live > 0; live--) {
        if (cuMemAlloc_v2(&block, 512) != 0) {
            return 1;
        }
    }
    for (long pairs = atol(argv[2]); pairs > 0; pairs--) {
        if (cuMemAlloc_v2(&block, 4096) != 0 || cuMemFree_v2(block) != 0) {
            return 1;
        }
    }
    return 0;
}
