/* HIP. */
#define LIBRARY "libamdhip64.so"
#define FUNCTIONS(X)                                                                               \
    X(hipInit, (unsigned))                                                                         \
    X(hipSetDevice, (int))                                                                         \
    X(hipDeviceReset, (void))                                                                      \
    X(hipMalloc, (void **, size_t))                                                                \
    X(hipExtMallocWithFlags, (void **, size_t, unsigned))                                          \
    X(hipMallocManaged, (void **, size_t, unsigned))                                               \
    X(hipMallocAsync, (void **, size_t, void *))                                                   \
    X(hipMallocPitch, (void **, size_t *, size_t, size_t))                                         \
    X(hipFree, (void *))                                                                           \
    X(hipFreeAsync, (void *, void *))                                                              \
    X(hipMemAddressReserve, (void **, size_t, size_t, void *, uint64_t))                           \
    X(hipMemCreate, (void **, size_t, const struct properties *, uint64_t))                        \
    X(hipMemMap, (void *, size_t, size_t, void *, uint64_t))                                       \
    X(hipMemUnmap, (void *, size_t))                                                               \
    X(hipMemRelease, (void *))                                                                     \
    X(hipDeviceSynchronize, (void))                                                                \
    X(hipGraphCreate, (void **, unsigned))                                                         \
    X(hipGraphAddMemAllocNode, (void **, void *, const void *, size_t, struct node *))             \
    X(hipGraphInstantiateWithFlags, (void **, void *, uint64_t))                                   \
    X(hipGraphLaunch, (void *, void *))                                                            \
    X(hipGraphExecDestroy, (void *))                                                               \
    X(hipDeviceGraphMemTrim, (int))                                                                \
    X(hipMemGetInfo, (size_t *, size_t *))                                                         \
    X(hipDeviceTotalMem, (size_t *, int))
struct properties { int type, handle_types, location_type, location_id; void *meta; char rest[8]; };
struct node {
    int type, handle_types, location_type, location_id;
    char rest[88];
    size_t bytes;
    void *address;
};
FUNCTIONS(DECLARE)

static int current_device;
static size_t mapped_bytes;

static int begin(void) { return hipInit(0); }
static int use_device(int device) { return hipSetDevice(current_device = device); }
static int info(size_t *free_, size_t *total) { return hipMemGetInfo(free_, total); }
static int total_of(size_t *bytes, int device) { return hipDeviceTotalMem(bytes, device); }
static int classic(uint64_t *block, size_t bytes) { return hipMalloc((void **)block, bytes); }
static int with_flags(uint64_t *block, size_t bytes) {
    return hipExtMallocWithFlags((void **)block, bytes, 1);
}
static int managed(uint64_t *block, size_t bytes) {
    return hipMallocManaged((void **)block, bytes, 1);
}
static int in_stream(uint64_t *block, size_t bytes) {
    return hipMallocAsync((void **)block, bytes, NULL);
}
static int pitched(uint64_t *block, size_t bytes) {
    size_t pitch;
    return hipMallocPitch((void **)block, &pitch, 1024, bytes / 1024);
}
static int release(uint64_t block) { return hipFree(POINTER(block)); }
static int release_in_stream(uint64_t block) { return hipFreeAsync(POINTER(block), NULL); }
static int physical(uint64_t *block, size_t bytes) {
    struct properties properties = {1, 0, 1, current_device, NULL, {0}};
    return hipMemCreate((void **)block, bytes, &properties, 0);
}
static int release_physical(uint64_t block) { return hipMemRelease(POINTER(block)); }
static int mapped(uint64_t *block, size_t bytes) {
    uint64_t handle;
    int result = physical(&handle, bytes);
    if (result == 0) {
        mapped_bytes = bytes;
        result = hipMemAddressReserve((void **)block, bytes, 0, NULL, 0) ||
                 hipMemMap(POINTER(*block), bytes, 0, POINTER(handle), 0) ||
                 release_physical(handle);
    }
    return result;
}
static int release_mapped(uint64_t block) { return hipMemUnmap(POINTER(block), mapped_bytes); }

/* Graphs with one allocation each, which is left to the program. */
static struct { uint64_t address; void *executable; } graphs[64];
static unsigned graph_count;
static int by_node(uint64_t *block, size_t bytes) {
    struct node node = {1, 0, 1, current_device, {0}, bytes, NULL};
    void *graph, *added;
    int result = hipGraphCreate(&graph, 0) ||
                 hipGraphAddMemAllocNode(&added, graph, NULL, 0, &node) ||
                 hipGraphInstantiateWithFlags(&graphs[graph_count].executable, graph, 0);
    *block = graphs[graph_count].address = (uint64_t)(uintptr_t)node.address;
    result = result != 0 ? 999 : hipGraphLaunch(graphs[graph_count].executable, NULL);
    graph_count += result == 0;
    return result;
}
static int release_graph(uint64_t block) {
    unsigned i = 0;
    while (graphs[i].address != block) {
        i++;
    }
    return hipFreeAsync(POINTER(block), NULL) || hipGraphExecDestroy(graphs[i].executable) ||
           hipDeviceGraphMemTrim(current_device);
}

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"with_flags", with_flags, release},
    {"managed", managed, release},
    {"async", in_stream, release_in_stream},
    {"graph_node", by_node, release_graph},
    {"pitched", pitched, release},
    {"physical", physical, release_physical},
    {"mapped", mapped, release_mapped},
    {NULL, NULL, NULL},
};
static int reset(void) { return hipDeviceReset(); }
static int synchronize(void) { return hipDeviceSynchronize(); }
static const struct extra extras[] = {
    {"reset", reset},
    {"synchronize", synchronize},
    {NULL, NULL},
};
