/* CUDA's runtime API. */
#define LIBRARY "libcudart.so.12"
#define FUNCTIONS(X)                                                                               \
    X(cudaSetDevice, (int))                                                                        \
    X(cudaMalloc, (void **, size_t))                                                               \
    X(cudaFree, (void *))                                                                          \
    X(cudaMemGetInfo, (size_t *, size_t *))
FUNCTIONS(DECLARE)

static int begin(void) { return 0; }
static int use_device(int device) { return cudaSetDevice(device); }
static int info(size_t *free_, size_t *total) { return cudaMemGetInfo(free_, total); }
static int total_of(size_t *bytes, int device) { return *bytes = 0, device; }
static int classic(uint64_t *block, size_t bytes) { return cudaMalloc((void **)block, bytes); }
static int release(uint64_t block) { return cudaFree(POINTER(block)); }

static const struct kind kinds[] = {{"classic", classic, release}, {NULL, NULL, NULL}};
static const struct extra extras[] = {{NULL, NULL}};
