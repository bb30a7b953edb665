/* CUDA's runtime API. */
#define LIBRARY "libcudart.so.12"
#define FUNCTIONS(X)                                                                               \
    X(cudaSetDevice, (int))                                                                        \
    X(cudaDeviceReset, (void))                                                                     \
    X(cudaGetLastError, (void))                                                                    \
    X(cudaPeekAtLastError, (void))                                                                 \
    X(cudaMalloc, (void **, size_t))                                                               \
    X(cudaMallocManaged, (void **, size_t, unsigned))                                              \
    X(cudaMallocPitch, (void **, size_t *, size_t, size_t))                                        \
    X(cudaMalloc3D, (struct pitched *, struct extent))                                             \
    X(cudaMallocAsync, (void **, size_t, void *))                                                  \
    X(cudaMallocAsync_ptsz, (void **, size_t, void *))                                             \
    X(cudaMallocFromPoolAsync, (void **, size_t, void *, void *))                                  \
    X(cudaMallocArray, (void **, const struct channels *, size_t, size_t, unsigned))               \
    X(cudaMalloc3DArray, (void **, const struct channels *, struct extent, unsigned))              \
    X(cudaMallocMipmappedArray, (void **, const struct channels *, struct extent, unsigned,        \
                                 unsigned))                                                        \
    X(cudaFree, (void *))                                                                          \
    X(cudaFreeAsync, (void *, void *))                                                             \
    X(cudaFreeAsync_ptsz, (void *, void *))                                                        \
    X(cudaFreeArray, (void *))                                                                     \
    X(cudaFreeMipmappedArray, (void *))                                                            \
    X(cudaHostAlloc, (void **, size_t, unsigned))                                                  \
    X(cudaFreeHost, (void *))                                                                      \
    X(cudaHostRegister, (void *, size_t, unsigned))                                                \
    X(cudaHostUnregister, (void *))                                                                \
    X(cudaIpcGetMemHandle, (struct ipc_handle *, void *))                                          \
    X(cudaIpcOpenMemHandle, (void **, struct ipc_handle, unsigned))                                \
    X(cudaIpcCloseMemHandle, (void *))                                                             \
    X(cudaDeviceGetDefaultMemPool, (void **, int))                                                 \
    X(cudaMemPoolCreate, (void **, const struct pool_properties *))                                \
    X(cudaMemPoolSetAttribute, (void *, int, void *))                                              \
    X(cudaMemPoolTrimTo, (void *, size_t))                                                         \
    X(cudaStreamCreate, (void **))                                                                 \
    X(cudaStreamSynchronize, (void *))                                                             \
    X(cudaStreamBeginCapture, (void *, int))                                                       \
    X(cudaStreamEndCapture, (void *, void **))                                                     \
    X(cudaEventCreate, (void **))                                                                  \
    X(cudaEventRecord, (void *, void *))                                                           \
    X(cudaEventSynchronize, (void *))                                                              \
    X(cudaGraphCreate, (void **, unsigned))                                                        \
    X(cudaGraphAddMemAllocNode, (void **, void *, const void *, size_t, struct node *))            \
    X(cudaGraphInstantiate, (void **, void *, unsigned long long))                                 \
    X(cudaGraphUpload, (void *, void *))                                                           \
    X(cudaGraphLaunch, (void *, void *))                                                           \
    X(cudaGraphExecDestroy, (void *))                                                              \
    X(cudaDeviceGraphMemTrim, (int))                                                               \
    X(cudaDeviceSynchronize, (void))                                                               \
    X(cudaGetDriverEntryPointByVersion, (const char *, void **, unsigned, unsigned long long,      \
                                         int *))                                                   \
    X(cudaMemGetInfo, (size_t *, size_t *))
struct channels { int x, y, z, w, kind; };
struct extent { size_t width, height, depth; };
struct pitched { void *pointer; size_t pitch, width, height; };
struct ipc_handle { char bytes[64]; };
struct pool_properties { int type, handle_types, location_type, location_id; char rest[72]; };
struct node { struct pool_properties pool; char access[16]; size_t bytes; uint64_t address; };
FUNCTIONS(DECLARE)

static int current_device;

static int begin(void) { return 0; }
static int use_device(int device) {
    current_device = device;
    return cudaSetDevice(device);
}
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
static int volume(uint64_t *block, size_t bytes) {
    struct pitched volume = {0};
    int result = cudaMalloc3D(&volume, (struct extent){1024, 4, bytes / 4096});
    *block = (uint64_t)(uintptr_t)volume.pointer;
    return result;
}
static int in_stream(uint64_t *block, size_t bytes) {
    return cudaMallocAsync((void **)block, bytes, NULL);
}
static int in_own_stream(uint64_t *block, size_t bytes) {
    return cudaMallocAsync_ptsz((void **)block, bytes, NULL);
}
static int from_pool(uint64_t *block, size_t bytes) {
    void *pool;
    cudaDeviceGetDefaultMemPool(&pool, current_device);
    return cudaMallocFromPoolAsync((void **)block, bytes, pool, NULL);
}
static void *made_pool;
static int from_made_pool(uint64_t *block, size_t bytes) {
    struct pool_properties properties = {1, 0, 1, current_device, {0}};
    int result = made_pool == NULL ? cudaMemPoolCreate(&made_pool, &properties) : 0;
    return result != 0 ? result : cudaMallocFromPoolAsync((void **)block, bytes, made_pool, NULL);
}

/* Four floating channels of 32 bits, in rows of 64. */
static const struct channels channels = {32, 32, 32, 32, 2};
static int array(uint64_t *block, size_t bytes) {
    return cudaMallocArray((void **)block, &channels, 64, bytes / 1024, 0);
}
static int array3d(uint64_t *block, size_t bytes) {
    struct extent extent = {64, 4, bytes / 4096};
    return cudaMalloc3DArray((void **)block, &channels, extent, 0);
}
/* Two levels: the second adds an eighth of the first in three dimensions. */
static int mipmapped(uint64_t *block, size_t bytes) {
    struct extent extent = {64, 4, bytes / 9 * 8 / 4096};
    return cudaMallocMipmappedArray((void **)block, &channels, extent, 2, 0);
}
static int release(uint64_t block) { return cudaFree(POINTER(block)); }
static int release_in_stream(uint64_t block) { return cudaFreeAsync(POINTER(block), NULL); }
static int release_in_own_stream(uint64_t block) {
    return cudaFreeAsync_ptsz(POINTER(block), NULL);
}
static int release_array(uint64_t block) { return cudaFreeArray(POINTER(block)); }
static int release_mipmapped(uint64_t block) { return cudaFreeMipmappedArray(POINTER(block)); }

/* Physical memory is the driver's, whose functions programs have from the runtime. */
struct properties { int type, handle_types, location_type, location_id; void *meta; char rest[8]; };
#define ENTRY_POINTS(X)                                                                            \
    X(cuMemAddressReserve, (uint64_t *, size_t, size_t, uint64_t, uint64_t))                       \
    X(cuMemCreate, (uint64_t *, size_t, const struct properties *, uint64_t))                      \
    X(cuMemMap, (uint64_t, size_t, size_t, uint64_t, uint64_t))                                    \
    X(cuMemUnmap, (uint64_t, size_t))                                                              \
    X(cuMemRelease, (uint64_t))                                                                    \
    X(cuMemAlloc, (uint64_t *, size_t))                                                            \
    X(cuDevicePrimaryCtxReset, (int))
#define ENTRY_POINT(name, arguments) static int(*name) arguments;
#define FIND_ENTRY_POINT(name, arguments)                                                          \
    result = result || cudaGetDriverEntryPointByVersion(#name, (void **)&name, 12000, 0, &status);
ENTRY_POINTS(ENTRY_POINT)

static int find_entry_points(void) {
    int status, result = 0;
    ENTRY_POINTS(FIND_ENTRY_POINT)
    return result;
}

static size_t mapped_bytes;
static int mapped(uint64_t *block, size_t bytes) {
    struct properties properties = {1, 0, 1, current_device, NULL, {0}};
    uint64_t handle;
    int result = find_entry_points();
    result = result != 0 ? result : cuMemCreate(&handle, bytes, &properties, 0);
    if (result == 0) {
        mapped_bytes = bytes;
        result = cuMemAddressReserve(block, bytes, 0, 0, 0) ||
                 cuMemMap(*block, bytes, 0, handle, 0) || cuMemRelease(handle);
    }
    return result;
}
static int release_mapped(uint64_t block) { return cuMemUnmap(block, mapped_bytes); }

/* Graphs with one allocation each: left to the program, or freed by the graph itself. */
#define GRAPHS_MAX 64
static struct graph { uint64_t address; void *executable; } graphs[GRAPHS_MAX];
static void *graph_stream;

static int launch(void *executable) { return cudaGraphLaunch(executable, graph_stream); }
static int upload(void *executable) { return cudaGraphUpload(executable, graph_stream); }
static int map_new(uint64_t address, void *graph, int (*map)(void *)) {
    unsigned i = 0;
    while (graphs[i].executable != NULL) {
        i++;
    }
    int result = cudaGraphInstantiate(&graphs[i].executable, graph, 0);
    result = result != 0 ? result : map(graphs[i].executable);
    if (result != 0) {
        cudaGraphExecDestroy(graphs[i].executable);
        graphs[i].executable = NULL;
    }
    graphs[i].address = address;
    return result;
}
static int map_node(uint64_t *block, size_t bytes, int (*map)(void *)) {
    struct node node = {.pool = {1, 0, 1, current_device, {0}}, .bytes = bytes};
    void *graph, *added;
    int result =
        cudaGraphCreate(&graph, 0) || cudaGraphAddMemAllocNode(&added, graph, NULL, 0, &node);
    *block = node.address;
    return result != 0 ? result : map_new(node.address, graph, map);
}
static int by_node(uint64_t *block, size_t bytes) { return map_node(block, bytes, launch); }
static int by_upload(uint64_t *block, size_t bytes) { return map_node(block, bytes, upload); }
static int by_capture(uint64_t *block, size_t bytes) {
    void *graph;
    int result = graph_stream != NULL ? 0 : cudaStreamCreate(&graph_stream);
    result = result || cudaStreamBeginCapture(graph_stream, 0) ||
             cudaMallocAsync((void **)block, bytes, graph_stream);
    return cudaStreamEndCapture(graph_stream, &graph) || result
               ? 999
               : map_new(*block, graph, launch);
}
/* In a stream of its own, so that no other graph's memory will do. */
static int by_itself(uint64_t *block, size_t bytes) {
    void *graph;
    int result = cudaStreamCreate(&graph_stream) || cudaStreamBeginCapture(graph_stream, 0) ||
                 cudaMallocAsync((void **)block, bytes, graph_stream) ||
                 cudaFreeAsync(POINTER(*block), graph_stream);
    return cudaStreamEndCapture(graph_stream, &graph) || result
               ? 999
               : map_new(*block, graph, launch);
}
static int release_graph(uint64_t block) {
    unsigned i = 0;
    while (graphs[i].address != block) {
        i++;
    }
    int result = cudaGraphExecDestroy(graphs[i].executable);
    graphs[i].executable = NULL;
    return result || cudaDeviceGraphMemTrim(current_device);
}
static int release_by_program(uint64_t block) {
    return cudaFreeAsync(POINTER(block), NULL) || release_graph(block);
}

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"managed", managed, release},
    {"pitched", pitched, release},
    {"volume", volume, release},
    {"async", in_stream, release_in_stream},
    {"async_ptsz", in_own_stream, release_in_own_stream},
    {"async_then_free", in_stream, release},
    {"pool", from_pool, release_in_stream},
    {"made_pool", from_made_pool, release_in_stream},
    {"array", array, release_array},
    {"array3d", array3d, release_array},
    {"mipmapped", mipmapped, release_mipmapped},
    {"mapped", mapped, release_mapped},
    {"graph_node", by_node, release_by_program},
    {"graph_uploaded", by_upload, release_by_program},
    {"graph_captured", by_capture, release_by_program},
    {"graph_alone", by_itself, release_graph},
    {NULL, NULL, NULL},
};

static int synchronize(void) { return cudaDeviceSynchronize(); }
static int synchronize_stream(void) { return cudaStreamSynchronize(NULL); }
static int synchronize_event(void) {
    void *event;
    return cudaEventCreate(&event) || cudaEventRecord(event, NULL) || cudaEventSynchronize(event);
}
static int keep_all(void) {
    uint64_t bytes = UINT64_MAX;
    void *pool;
    return cudaDeviceGetDefaultMemPool(&pool, current_device) ||
           cudaMemPoolSetAttribute(pool, 4, &bytes);
}
static int trim(void) {
    void *pool;
    return cudaDeviceGetDefaultMemPool(&pool, current_device) || cudaMemPoolTrimTo(pool, 0);
}
static int reset(void) { return cudaDeviceReset(); }
/* A context that is made by the driver's function, in one of its forms, has memory and is current
 * when the card's own is reset. */
static int reset_beside(unsigned version) {
    void *create, *context;
    uint64_t block;
    int status, result = find_entry_points() || cudaGetDriverEntryPointByVersion(
                                                    "cuCtxCreate", &create, version, 0, &status);
    if (result == 0 && version >= 12050) {
        result = ((int (*)(void **, void *, unsigned, int))create)(&context, NULL, 0, 0);
    } else if (result == 0 && version >= 11040) {
        result = ((int (*)(void **, void *, int, unsigned, int))create)(&context, NULL, 0, 0, 0);
    } else if (result == 0) {
        result = ((int (*)(void **, unsigned, int))create)(&context, 0, 0);
    }
    return result || cuMemAlloc(&block, 32 << 20) || cuDevicePrimaryCtxReset(0);
}
static int reset_beside_first_form(void) { return reset_beside(2000); }
static int reset_beside_second_form(void) { return reset_beside(3020); }
static int reset_beside_third_form(void) { return reset_beside(11040); }
static int reset_beside_fourth_form(void) { return reset_beside(12050); }
static int last_error(void) { return cudaGetLastError(); }
static int peek(void) { return cudaPeekAtLastError(); }
static int host_and_imported(void) {
    static char registered[4096];
    struct ipc_handle handle;
    void *host, *exported = POINTER(classic), *imported;
    return cudaHostAlloc(&host, 1 << 20, 0) || cudaFreeHost(host) ||
           cudaHostRegister(registered, sizeof registered, 0) || cudaHostUnregister(registered) ||
           cudaIpcGetMemHandle(&handle, exported) || cudaIpcOpenMemHandle(&imported, handle, 1) ||
           cudaIpcCloseMemHandle(imported);
}
static const struct extra extras[] = {
    {"synchronize", synchronize},
    {"synchronize_stream", synchronize_stream},
    {"synchronize_event", synchronize_event},
    {"keep_all", keep_all},
    {"trim", trim},
    {"reset", reset},
    {"reset_beside_first_form", reset_beside_first_form},
    {"reset_beside_second_form", reset_beside_second_form},
    {"reset_beside_third_form", reset_beside_third_form},
    {"reset_beside_fourth_form", reset_beside_fourth_form},
    {"last_error", last_error},
    {"peek", peek},
    {"host_and_imported", host_and_imported},
    {NULL, NULL},
};
