/* CUDA's runtime API. */
#define LIBRARY "libcudart.so.12"
#define FUNCTIONS(X)                                                                               \
    X(cudaSetDevice, (int))                                                                        \
    X(cudaMalloc, (void **, size_t))                                                               \
    X(cudaMallocManaged, (void **, size_t, unsigned))                                              \
    X(cudaMallocPitch, (void **, size_t *, size_t, size_t))                                        \
    X(cudaMallocAsync, (void **, size_t, void *))                                                  \
    X(cudaMallocArray, (void **, const struct channels *, size_t, size_t, unsigned))               \
    X(cudaFree, (void *))                                                                          \
    X(cudaFreeAsync, (void *, void *))                                                             \
    X(cudaFreeArray, (void *))                                                                     \
    X(cudaDeviceSynchronize, (void))                                                               \
    X(cudaMemGetInfo, (size_t *, size_t *))
struct channels { int x, y, z, w, kind; };
FUNCTIONS(DECLARE)

static int begin(void) { return 0; }
static int use_device(int device) { return cudaSetDevice(device); }
static int info(size_t *free_, size_t *total) { return cudaMemGetInfo(free_, total); }
static int total_of(size_t *bytes, int device) { return *bytes = 0, device; }
static int classic(uint64_t *block, size_t bytes) { return cudaMalloc((void **)block, bytes); }
static int managed(uint64_t *block, size_t bytes) {
    return cudaMallocManaged((void **)block, bytes, 1);
}
static int pitched(uint64_t *block, size_t bytes) {
    size_t pitch;
    return cudaMallocPitch((void **)block, &pitch, 1024, bytes / 1024);
}
static int in_stream(uint64_t *block, size_t bytes) {
    return cudaMallocAsync((void **)block, bytes, NULL);
}
/* Four floating channels of 32 bits, in rows of 64. */
static int array(uint64_t *block, size_t bytes) {
    static const struct channels channels = {32, 32, 32, 32, 2};
    return cudaMallocArray((void **)block, &channels, 64, bytes / 1024, 0);
}
static int release(uint64_t block) { return cudaFree(POINTER(block)); }
static int release_in_stream(uint64_t block) { return cudaFreeAsync(POINTER(block), NULL); }
static int release_array(uint64_t block) { return cudaFreeArray(POINTER(block)); }

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"managed", managed, release},
    {"pitched", pitched, release},
    {"async", in_stream, release_in_stream},
    {"array", array, release_array},
    {NULL, NULL, NULL},
};
static int synchronize(void) { return cudaDeviceSynchronize(); }
static const struct extra extras[] = {{"synchronize", synchronize}, {NULL, NULL}};
