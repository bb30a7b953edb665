/* CUDA's driver API. */
#define LIBRARY "libcuda.so.1"
#define GET_PROC_ADDRESS "cuGetProcAddress_v2"
#define GET_PROC_ADDRESS_HAS_STATUS 1
#define FUNCTIONS(X)                                                                               \
    X(cuInit, (unsigned))                                                                          \
    X(cuDevicePrimaryCtxRetain, (void **, int))                                                    \
    X(cuDevicePrimaryCtxRelease, (int))                                                            \
    X(cuDevicePrimaryCtxRelease_v2, (int))                                                         \
    X(cuDevicePrimaryCtxReset, (int))                                                              \
    X(cuDevicePrimaryCtxReset_v2, (int))                                                           \
    X(cuCtxCreate_v4, (void **, void *, unsigned, int))                                            \
    X(cuCtxDestroy, (void *))                                                                      \
    X(cuCtxDestroy_v2, (void *))                                                                   \
    X(cuCtxSetCurrent, (void *))                                                                   \
    X(cuCtxGetCurrent, (void **))                                                                  \
    X(cuMemAlloc_v2, (uint64_t *, size_t))                                                         \
    X(cuMemAllocManaged, (uint64_t *, size_t, unsigned))                                           \
    X(cuMemAllocPitch_v2, (uint64_t *, size_t *, size_t, size_t, unsigned))                        \
    X(cuMemFree_v2, (uint64_t))                                                                    \
    X(cuMemAllocAsync, (uint64_t *, size_t, void *))                                               \
    X(cuMemAllocAsync_ptsz, (uint64_t *, size_t, void *))                                          \
    X(cuMemFreeAsync, (uint64_t, void *))                                                          \
    X(cuMemFreeAsync_ptsz, (uint64_t, void *))                                                     \
    X(cuDeviceGetDefaultMemPool, (void **, int))                                                   \
    X(cuMemPoolCreate, (void **, const struct pool_properties *))                                  \
    X(cuMemPoolDestroy, (void *))                                                                  \
    X(cuMemPoolSetAttribute, (void *, int, void *))                                                \
    X(cuMemPoolTrimTo, (void *, size_t))                                                           \
    X(cuCtxSynchronize, (void))                                                                    \
    X(cuCtxSynchronize_v2, (void *))                                                               \
    X(cuStreamCreate, (void **, unsigned))                                                         \
    X(cuStreamSynchronize, (void *))                                                               \
    X(cuStreamBeginCapture_v2, (void *, int))                                                      \
    X(cuStreamEndCapture, (void *, void **))                                                       \
    X(cuGraphCreate, (void **, unsigned))                                                          \
    X(cuGraphAddMemAllocNode, (void **, void *, const void *, size_t, struct node *))              \
    X(cuStreamSynchronize_ptsz, (void *))                                                          \
    X(cuEventCreate, (void **, unsigned))                                                          \
    X(cuEventRecord, (void *, void *))                                                             \
    X(cuEventSynchronize, (void *))                                                                \
    X(cuGraphInstantiate, (void **, void *, void **, char *, size_t))                              \
    X(cuGraphInstantiate_v2, (void **, void *, void **, char *, size_t))                           \
    X(cuGraphInstantiateWithFlags, (void **, void *, uint64_t))                                    \
    X(cuGraphInstantiateWithParams, (void **, void *, struct graph_parameters *))                  \
    X(cuGraphInstantiateWithParams_ptsz, (void **, void *, struct graph_parameters *))             \
    X(cuGraphLaunch, (void *, void *))                                                             \
    X(cuGraphUpload, (void *, void *))                                                             \
    X(cuGraphUpload_ptsz, (void *, void *))                                                        \
    X(cuGraphExecDestroy, (void *))                                                                \
    X(cuDeviceGraphMemTrim, (int))                                                                 \
    X(cuMemAllocFromPoolAsync, (uint64_t *, size_t, void *, void *))                               \
    X(cuMemAllocFromPoolAsync_ptsz, (uint64_t *, size_t, void *, void *))                          \
    X(cuArrayCreate_v2, (void **, const struct array *))                                           \
    X(cuArray3DCreate_v2, (void **, const struct array3d *))                                       \
    X(cuArrayDestroy, (void *))                                                                    \
    X(cuMipmappedArrayCreate, (void **, const struct array3d *, unsigned))                         \
    X(cuMipmappedArrayDestroy, (void *))                                                           \
    X(cuMemAddressReserve, (uint64_t *, size_t, size_t, uint64_t, uint64_t))                       \
    X(cuMemCreate, (uint64_t *, size_t, const struct properties *, uint64_t))                      \
    X(cuMemMap, (uint64_t, size_t, size_t, uint64_t, uint64_t))                                    \
    X(cuMemUnmap, (uint64_t, size_t))                                                              \
    X(cuMemRetainAllocationHandle, (uint64_t *, void *))                                           \
    X(cuMemRelease, (uint64_t))                                                                    \
    X(cuMemGetInfo_v2, (size_t *, size_t *))                                                       \
    X(cuDeviceTotalMem_v2, (size_t *, int))
struct array { size_t width, height; unsigned format, channels; };
struct array3d { size_t width, height, depth; unsigned format, channels, flags; };
struct pool_properties { int type, handle_types, location_type, location_id; char rest[72]; };
struct graph_parameters { uint64_t flags; void *stream, *node; int result; };
struct node { struct pool_properties pool; char access[16]; size_t bytes; uint64_t address; };
struct properties { int type, handle_types, location_type, location_id; void *meta; char rest[8]; };

FUNCTIONS(DECLARE)

static int current_device;

static int begin(void) { return cuInit(0); }
static int use_device(int device) {
    void *context;
    int result = cuDevicePrimaryCtxRetain(&context, device);
    current_device = device;
    return result != 0 ? result : cuCtxSetCurrent(context);
}
static int info(size_t *free_, size_t *total) { return cuMemGetInfo_v2(free_, total); }
static int total_of(size_t *bytes, int device) { return cuDeviceTotalMem_v2(bytes, device); }

static int classic(uint64_t *block, size_t bytes) { return cuMemAlloc_v2(block, bytes); }
static int managed(uint64_t *block, size_t bytes) { return cuMemAllocManaged(block, bytes, 1); }
static int pitched(uint64_t *block, size_t bytes) {
    size_t pitch;
    return cuMemAllocPitch_v2(block, &pitch, 1024, bytes / 1024, 4);
}
static int in_stream(uint64_t *block, size_t bytes) { return cuMemAllocAsync(block, bytes, NULL); }
static int in_own_stream(uint64_t *block, size_t bytes) {
    return cuMemAllocAsync_ptsz(block, bytes, NULL);
}
static int from_pool(uint64_t *block, size_t bytes) {
    void *pool;
    cuDeviceGetDefaultMemPool(&pool, current_device);
    return cuMemAllocFromPoolAsync(block, bytes, pool, NULL);
}
static int from_own_pool(uint64_t *block, size_t bytes) {
    void *pool;
    cuDeviceGetDefaultMemPool(&pool, current_device);
    return cuMemAllocFromPoolAsync_ptsz(block, bytes, pool, NULL);
}
static void *made_pool;
static int from_pool_at(uint64_t *block, size_t bytes, int type, int location_type,
                        int location_id) {
    struct pool_properties properties = {type, 0, location_type, location_id, {0}};
    int result = made_pool == NULL ? cuMemPoolCreate(&made_pool, &properties) : 0;
    return result != 0 ? result : cuMemAllocFromPoolAsync(block, bytes, made_pool, NULL);
}
static int from_made_pool(uint64_t *block, size_t bytes) {
    return from_pool_at(block, bytes, 1, 1, current_device);
}
#define PART_OF_CARD 6 /* a location: the card, and in the next byte which part of it */
static int from_pool_of_part(uint64_t *block, size_t bytes) {
    return from_pool_at(block, bytes, 1, PART_OF_CARD, current_device | 1 << 8);
}
static int from_managed_pool(uint64_t *block, size_t bytes) {
    return from_pool_at(block, bytes, 2, 0, 0); /* no preferred location */
}
/* On the card behind the current one: in a stream of it, or from its pool. */
static void *next_card_stream;
static int in_next_cards_stream(uint64_t *block, size_t bytes) {
    void *own, *other;
    int result = next_card_stream != NULL
                     ? 0
                     : cuCtxGetCurrent(&own) ||
                           cuDevicePrimaryCtxRetain(&other, current_device + 1) ||
                           cuCtxSetCurrent(other) || cuStreamCreate(&next_card_stream, 0) ||
                           cuCtxSetCurrent(own);
    return result != 0 ? 999 : cuMemAllocAsync(block, bytes, next_card_stream);
}
static int from_next_cards_pool(uint64_t *block, size_t bytes) {
    void *pool;
    cuDeviceGetDefaultMemPool(&pool, current_device + 1);
    return cuMemAllocFromPoolAsync(block, bytes, pool, NULL);
}
static int release(uint64_t block) { return cuMemFree_v2(block); }
static int release_in_stream(uint64_t block) { return cuMemFreeAsync(block, NULL); }
static int release_in_own_stream(uint64_t block) { return cuMemFreeAsync_ptsz(block, NULL); }

/* Four channels of 32 bits, in rows of 64. */
static int array(uint64_t *block, size_t bytes) {
    struct array descriptor = {64, bytes / 1024, 0x20, 4};
    return cuArrayCreate_v2((void **)block, &descriptor);
}
static int array3d(uint64_t *block, size_t bytes) {
    struct array3d descriptor = {64, 4, bytes / 4096, 0x20, 4, 0};
    return cuArray3DCreate_v2((void **)block, &descriptor);
}
/* Two levels: the second adds an eighth of the first in three dimensions. */
static int mipmapped(uint64_t *block, size_t bytes) {
    struct array3d descriptor = {64, 4, bytes / 9 * 8 / 4096, 0x20, 4, 0};
    return cuMipmappedArrayCreate((void **)block, &descriptor, 2);
}
static int release_array(uint64_t block) { return cuArrayDestroy(POINTER(block)); }
static int release_mipmapped(uint64_t block) { return cuMipmappedArrayDestroy(POINTER(block)); }

/* The driver takes no other sizes. */
static size_t whole_pages(size_t bytes) { return (bytes + 0x1fffff) & ~(size_t)0x1fffff; }
static int physical_at(uint64_t *block, size_t bytes, int location_type, int location_id) {
    struct properties properties = {1, 0, location_type, location_id, NULL, {0}};
    return cuMemCreate(block, whole_pages(bytes), &properties, 0);
}
static int physical(uint64_t *block, size_t bytes) {
    return physical_at(block, bytes, 1, current_device);
}
static int physical_part(uint64_t *block, size_t bytes) {
    return physical_at(block, bytes, PART_OF_CARD, current_device | 1 << 8);
}
static int release_physical(uint64_t block) { return cuMemRelease(block); }

/* As allocators do: the handle is released as soon as it is mapped, and what keeps the memory is
 * the mapping. */
static size_t mapped_bytes;
static int mapped(uint64_t *block, size_t bytes) {
    uint64_t handle;
    int result = physical(&handle, bytes);
    if (result == 0) {
        mapped_bytes = bytes;
        result = cuMemAddressReserve(block, bytes, 0, 0, 0) ||
                 cuMemMap(*block, bytes, 0, handle, 0) || cuMemRelease(handle);
    }
    return result;
}
static int release_mapped(uint64_t block) {
    uint64_t handle;
    int retained = cuMemRetainAllocationHandle(&handle, POINTER(block));
    return retained || cuMemRelease(handle) || cuMemUnmap(block, mapped_bytes);
}

/* Graphs with one allocation each: left to the program, or freed by the graph itself. */
#define GRAPHS_MAX 64
static struct graph { uint64_t address; void *executable; } graphs[GRAPHS_MAX];
static void *graph_stream;

/* All ways to make one executable, and to map its memory. */
static int first_form(void **executable, void *graph) {
    return cuGraphInstantiate(executable, graph, NULL, NULL, 0);
}
static int second_form(void **executable, void *graph) {
    return cuGraphInstantiate_v2(executable, graph, NULL, NULL, 0);
}
static int with_flags(void **executable, void *graph) {
    return cuGraphInstantiateWithFlags(executable, graph, 0);
}
static int with_parameters(void **executable, void *graph) {
    struct graph_parameters parameters = {0};
    return cuGraphInstantiateWithParams(executable, graph, &parameters);
}
static int with_parameters_ptsz(void **executable, void *graph) {
    struct graph_parameters parameters = {0};
    return cuGraphInstantiateWithParams_ptsz(executable, graph, &parameters);
}
static int launch(void *executable, void *in) { return cuGraphLaunch(executable, in); }
static int upload(void *executable, void *in) { return cuGraphUpload(executable, in); }
static int upload_ptsz(void *executable, void *in) { return cuGraphUpload_ptsz(executable, in); }

static int map_new(uint64_t address, void *graph, int (*instantiate)(void **, void *),
                   int (*map)(void *, void *)) {
    unsigned i = 0;
    while (graphs[i].executable != NULL) {
        i++;
    }
    int result = instantiate(&graphs[i].executable, graph);
    result = result != 0 ? result : map(graphs[i].executable, graph_stream);
    if (result != 0) {
        cuGraphExecDestroy(graphs[i].executable);
        graphs[i].executable = NULL;
    }
    graphs[i].address = address;
    return result;
}
static int launch_new(uint64_t address, void *graph) {
    return map_new(address, graph, with_flags, launch);
}
static int map_node(uint64_t *block, size_t bytes, int (*instantiate)(void **, void *),
                    int (*map)(void *, void *)) {
    struct node node = {.pool = {1, 0, 1, current_device, {0}}, .bytes = bytes};
    void *graph, *added;
    int result = cuGraphCreate(&graph, 0) || cuGraphAddMemAllocNode(&added, graph, NULL, 0, &node);
    *block = node.address;
    return result != 0 ? result : map_new(node.address, graph, instantiate, map);
}
#define BY_NODE(NAME, INSTANTIATE, MAP)                                                            \
    static int NAME(uint64_t *block, size_t bytes) {                                               \
        return map_node(block, bytes, INSTANTIATE, MAP);                                           \
    }
BY_NODE(by_node, with_flags, launch)
BY_NODE(by_first_form, first_form, launch)
BY_NODE(by_second_form, second_form, launch)
BY_NODE(by_parameters, with_parameters, launch)
BY_NODE(by_parameters_ptsz, with_parameters_ptsz, launch)
BY_NODE(by_upload, with_flags, upload)
BY_NODE(by_upload_ptsz, with_flags, upload_ptsz)
static int by_capture(uint64_t *block, size_t bytes) {
    void *graph;
    int result = graph_stream != NULL ? 0 : cuStreamCreate(&graph_stream, 0);
    result = result || cuStreamBeginCapture_v2(graph_stream, 0) ||
             cuMemAllocAsync(block, bytes, graph_stream);
    return cuStreamEndCapture(graph_stream, &graph) || result ? 999 : launch_new(*block, graph);
}
/* In a stream of its own, so that no other graph's memory will do. */
static int by_itself(uint64_t *block, size_t bytes) {
    void *graph;
    int result = cuStreamCreate(&graph_stream, 0) || cuStreamBeginCapture_v2(graph_stream, 0) ||
                 cuMemAllocAsync(block, bytes, graph_stream) ||
                 cuMemFreeAsync(*block, graph_stream);
    return cuStreamEndCapture(graph_stream, &graph) || result ? 999 : launch_new(*block, graph);
}
static struct graph *graph_of(uint64_t block) {
    unsigned i = 0;
    while (graphs[i].address != block) {
        i++;
    }
    return &graphs[i];
}
static int destroy_graph(uint64_t block) {
    int result = cuGraphExecDestroy(graph_of(block)->executable);
    graph_of(block)->executable = NULL;
    return result;
}
static int release_graph(uint64_t block) {
    return destroy_graph(block) || cuDeviceGraphMemTrim(current_device);
}
static int release_by_program(uint64_t block) {
    return cuMemFreeAsync(block, NULL) || release_graph(block);
}

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"managed", managed, release},
    {"pitched", pitched, release},
    {"async", in_stream, release_in_stream},
    {"async_ptsz", in_own_stream, release_in_own_stream},
    {"async_then_free", in_stream, release},
    {"pool", from_pool, release_in_stream},
    {"pool_ptsz", from_own_pool, release_in_own_stream},
    {"made_pool", from_made_pool, release_in_stream},
    {"pool_of_part", from_pool_of_part, release_in_stream},
    {"managed_pool", from_managed_pool, release_in_stream},
    {"next_cards_stream", in_next_cards_stream, release_in_stream},
    {"next_cards_pool", from_next_cards_pool, release_in_stream},
    {"graph_node", by_node, release_by_program},
    {"graph_first_form", by_first_form, release_by_program},
    {"graph_second_form", by_second_form, release_by_program},
    {"graph_parameters", by_parameters, release_by_program},
    {"graph_parameters_ptsz", by_parameters_ptsz, release_by_program},
    {"graph_uploaded", by_upload, release_by_program},
    {"graph_uploaded_ptsz", by_upload_ptsz, release_by_program},
    {"graph_captured", by_capture, release_by_program},
    {"graph_alone", by_itself, release_graph},
    {"graph_destroyed", by_itself, destroy_graph},
    {"array", array, release_array},
    {"array3d", array3d, release_array},
    {"mipmapped", mipmapped, release_mipmapped},
    {"physical", physical, release_physical},
    {"physical_part", physical_part, release_physical},
    {"mapped", mapped, release_mapped},
    {NULL, NULL, NULL},
};

static int new_context(void) {
    void *context;
    return cuCtxCreate_v4(&context, NULL, 0, current_device);
}
static int destroy_context(void) {
    void *context;
    return cuCtxGetCurrent(&context) || cuCtxDestroy_v2(context);
}
static int destroy_context_first_form(void) {
    void *context;
    return cuCtxGetCurrent(&context) || cuCtxDestroy(context);
}
static int release_primary(void) { return cuDevicePrimaryCtxRelease_v2(current_device); }
static int release_primary_first_form(void) { return cuDevicePrimaryCtxRelease(current_device); }
static int synchronize(void) { return cuCtxSynchronize(); }
static int synchronize_context(void) {
    void *context;
    return cuCtxGetCurrent(&context) || cuCtxSynchronize_v2(context);
}
static int synchronize_stream(void) { return cuStreamSynchronize(NULL); }
static int synchronize_own_stream(void) { return cuStreamSynchronize_ptsz(NULL); }
static int synchronize_event(void) {
    void *event;
    return cuEventCreate(&event, 0) || cuEventRecord(event, NULL) || cuEventSynchronize(event);
}
static int set_threshold(uint64_t bytes) {
    void *pool;
    return cuDeviceGetDefaultMemPool(&pool, current_device) ||
           cuMemPoolSetAttribute(pool, 4, &bytes);
}
static int keep_all(void) { return set_threshold(UINT64_MAX); }
static int keep_some(void) { return set_threshold(32 << 20); }
static int trim(void) {
    void *pool;
    return cuDeviceGetDefaultMemPool(&pool, current_device) || cuMemPoolTrimTo(pool, 0);
}
static int trim_graphs(void) { return cuDeviceGraphMemTrim(current_device); }
static int destroy_pool(void) { return cuMemPoolDestroy(made_pool); }
static int launch_again(void) { return cuGraphLaunch(graphs[0].executable, graph_stream); }
static int reset_primary(void) { return cuDevicePrimaryCtxReset_v2(current_device); }
static int reset_primary_first_form(void) { return cuDevicePrimaryCtxReset(current_device); }
#if defined(LOOKUP) || defined(PROC_ADDRESS)
static const struct extra extras[] = {
#else
struct ipc_handle { char bytes[64]; };
int cuCtxCreate(void **, unsigned, int);
int cuCtxCreate_v2(void **, unsigned, int);
int cuCtxCreate_v3(void **, void *, int, unsigned, int);
int cuMemHostRegister_v2(void *, size_t, unsigned);
int cuIpcOpenMemHandle_v2(uint64_t *, struct ipc_handle, unsigned);
int cuIpcCloseMemHandle(uint64_t);
int cuIpcOpenMemHandle(uint64_t *, struct ipc_handle, unsigned);
int cuMemImportFromShareableHandle(uint64_t *, void *, int);
int cuMemPoolImportFromShareableHandle(void **, void *, int, uint64_t);
int cuImportExternalMemory(void **, const void *);
static void *made_context;
static int new_context_first_form(void) { return cuCtxCreate(&made_context, 0, current_device); }
static int new_context_second_form(void) {
    return cuCtxCreate_v2(&made_context, 0, current_device);
}
static int new_context_third_form(void) {
    return cuCtxCreate_v3(&made_context, NULL, 0, 0, current_device);
}
static int import_first_form(void) {
    uint64_t imported;
    struct ipc_handle handle = {{0}};
    return cuIpcOpenMemHandle(&imported, handle, 0);
}
static int import_handle(void) {
    uint64_t imported;
    return cuMemImportFromShareableHandle(&imported, NULL, 1);
}
static int import_pool(void) {
    void *imported;
    return cuMemPoolImportFromShareableHandle(&imported, NULL, 1, 0);
}
static int import_external(void) {
    void *imported = NULL;
    return cuImportExternalMemory(&imported, &imported);
}
static int host_and_imported(void) {
    uint64_t imported;
    struct ipc_handle handle = {{0}};
    static char host[4096];
    return cuMemHostRegister_v2(host, sizeof host, 0) ||
           cuIpcOpenMemHandle_v2(&imported, handle, 0) || cuIpcCloseMemHandle(imported);
}
static const struct extra extras[] = {
    {"host_and_imported", host_and_imported},
    {"new_context_first_form", new_context_first_form},
    {"new_context_second_form", new_context_second_form},
    {"new_context_third_form", new_context_third_form},
    {"import_first_form", import_first_form},
    {"import_handle", import_handle},
    {"import_pool", import_pool},
    {"import_external", import_external},
#endif
    {"synchronize", synchronize},
    {"synchronize_context", synchronize_context},
    {"synchronize_stream", synchronize_stream},
    {"synchronize_own_stream", synchronize_own_stream},
    {"synchronize_event", synchronize_event},
    {"keep_all", keep_all},
    {"keep_some", keep_some},
    {"trim", trim},
    {"trim_graphs", trim_graphs},
    {"destroy_pool", destroy_pool},
    {"launch_again", launch_again},
    {"new_context", new_context},
    {"destroy_context", destroy_context},
    {"destroy_context_first_form", destroy_context_first_form},
    {"release_primary", release_primary},
    {"release_primary_first_form", release_primary_first_form},
    {"reset_primary", reset_primary},
    {"reset_primary_first_form", reset_primary_first_form},
    {NULL, NULL},
};
