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
    X(hipStreamCreate, (void **))                                                                  \
    X(hipGetDriverEntryPoint, (const char *, void **, uint64_t, int *))                            \
    X(hipGetDriverEntryPoint_spt, (const char *, void **, uint64_t, int *))                        \
    X(hipMallocPitch, (void **, size_t *, size_t, size_t))                                         \
    X(hipMemAllocPitch, (void **, size_t *, size_t, size_t, unsigned))                             \
    X(hipMalloc3D, (struct pitched *, struct extent))                                              \
    X(hipMallocArray, (void **, const struct channels *, size_t, size_t, unsigned))                \
    X(hipMalloc3DArray, (void **, const struct channels *, struct extent, unsigned))               \
    X(hipMallocMipmappedArray, (void **, const struct channels *, struct extent, unsigned,         \
                                unsigned))                                                         \
    X(hipFreeArray, (void *))                                                                      \
    X(hipFreeMipmappedArray, (void *))                                                             \
    X(hipArrayCreate, (void **, const struct array *))                                             \
    X(hipArray3DCreate, (void **, const struct array3d *))                                         \
    X(hipMipmappedArrayCreate, (void **, const struct array3d *, unsigned))                        \
    X(hipArrayDestroy, (void *))                                                                   \
    X(hipMipmappedArrayDestroy, (void *))                                                          \
    X(hipMallocFromPoolAsync, (void **, size_t, void *, void *))                                   \
    X(hipDeviceGetDefaultMemPool, (void **, int))                                                  \
    X(hipMemPoolCreate, (void **, const struct pool_properties *))                                 \
    X(hipMemPoolDestroy, (void *))                                                                 \
    X(hipMemPoolSetAttribute, (void *, int, void *))                                               \
    X(hipMemPoolTrimTo, (void *, size_t))                                                          \
    X(hipFree, (void *))                                                                           \
    X(hipFreeAsync, (void *, void *))                                                              \
    X(hipMemAddressReserve, (void **, size_t, size_t, void *, uint64_t))                           \
    X(hipMemCreate, (void **, size_t, const struct properties *, uint64_t))                        \
    X(hipMemMap, (void *, size_t, size_t, void *, uint64_t))                                       \
    X(hipMemUnmap, (void *, size_t))                                                               \
    X(hipMemRetainAllocationHandle, (void **, void *))                                             \
    X(hipMemRelease, (void *))                                                                     \
    X(hipDeviceSynchronize, (void))                                                                \
    X(hipGraphCreate, (void **, unsigned))                                                         \
    X(hipGraphAddMemAllocNode, (void **, void *, const void *, size_t, struct node *))             \
    X(hipStreamSynchronize, (void *))                                                              \
    X(hipStreamSynchronize_spt, (void *))                                                          \
    X(hipEventCreateWithFlags, (void **, unsigned))                                                \
    X(hipEventRecord, (void *, void *))                                                            \
    X(hipEventSynchronize, (void *))                                                               \
    X(hipGraphInstantiate, (void **, void *, void **, char *, size_t))                             \
    X(hipGraphInstantiateWithFlags, (void **, void *, uint64_t))                                   \
    X(hipGraphInstantiateWithParams, (void **, void *, struct graph_parameters *))                 \
    X(hipGraphUpload, (void *, void *))                                                            \
    X(hipGraphLaunch, (void *, void *))                                                            \
    X(hipGraphExecDestroy, (void *))                                                               \
    X(hipDeviceGraphMemTrim, (int))                                                                \
    X(hipGetDeviceProperties, (struct properties_r0000 *, int))                                    \
    X(hipGetDevicePropertiesR0000, (struct properties_r0000 *, int))                               \
    X(hipGetDevicePropertiesR0600, (struct properties_r0600 *, int))                               \
    X(hipMemGetInfo, (size_t *, size_t *))                                                         \
    X(hipIpcOpenMemHandle, (void **, struct ipc_handle, unsigned))                                 \
    X(hipMemImportFromShareableHandle, (void **, void *, int))                                     \
    X(hipMemPoolImportFromShareableHandle, (void **, void *, int, unsigned))                       \
    X(hipImportExternalMemory, (void **, const void *))                                            \
    X(hipDeviceTotalMem, (size_t *, int))
struct ipc_handle { char bytes[64]; };
struct pitched { void *pointer; size_t pitch, width, height; };
struct extent { size_t width, height, depth; };
struct channels { int x, y, z, w, kind; };
struct array { size_t width, height; unsigned format, channels; };
struct array3d { size_t width, height, depth; unsigned format, channels, flags; };
struct pool_properties { int type, handle_types, location_type, location_id; char rest[72]; };
struct graph_parameters { void *node; uint64_t flags; int result; void *stream; };
struct properties_r0000 { char name[256]; size_t total_bytes; char rest[528]; };
struct properties_r0600 { char name[288]; size_t total_bytes; char rest[1176]; };
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
/* By what the runtime's own lookups find. */
static int looked_up(uint64_t *block, size_t bytes) {
    int (*allocate)(void **, size_t), status;
    int result = hipGetDriverEntryPoint("hipMalloc", (void **)&allocate, 0, &status);
    return result != 0 ? 999 : allocate((void **)block, bytes);
}
static int looked_up_spt(uint64_t *block, size_t bytes) {
    int (*allocate)(void **, size_t), status;
    int result = hipGetDriverEntryPoint_spt("hipMalloc", (void **)&allocate, 0, &status);
    return result != 0 ? 999 : allocate((void **)block, bytes);
}
static int pitched(uint64_t *block, size_t bytes) {
    size_t pitch;
    return hipMallocPitch((void **)block, &pitch, 1024, bytes / 1024);
}
static int pitched_of_driver(uint64_t *block, size_t bytes) {
    size_t pitch;
    return hipMemAllocPitch((void **)block, &pitch, 1024, bytes / 1024, 4);
}
static int volume(uint64_t *block, size_t bytes) {
    struct pitched pitched;
    int result = hipMalloc3D(&pitched, (struct extent){1024, 4, bytes / 4096});
    *block = (uint64_t)(uintptr_t)pitched.pointer;
    return result;
}
static int release(uint64_t block) { return hipFree(POINTER(block)); }

/* Four channels of 32 bits, in rows of 64; as the runtime describes them and as the driver does. */
static const struct channels channels = {32, 32, 32, 32, 2};
static int array(uint64_t *block, size_t bytes) {
    return hipMallocArray((void **)block, &channels, 64, bytes / 1024, 0);
}
static int array3d(uint64_t *block, size_t bytes) {
    return hipMalloc3DArray((void **)block, &channels, (struct extent){64, 4, bytes / 4096}, 0);
}
static int array_of_driver(uint64_t *block, size_t bytes) {
    struct array descriptor = {64, bytes / 1024, 0x20, 4};
    return hipArrayCreate((void **)block, &descriptor);
}
static int array3d_of_driver(uint64_t *block, size_t bytes) {
    struct array3d descriptor = {64, 4, bytes / 4096, 0x20, 4, 0};
    return hipArray3DCreate((void **)block, &descriptor);
}
/* Two levels: the second adds an eighth of the first in three dimensions. */
static int mipmapped(uint64_t *block, size_t bytes) {
    struct extent extent = {64, 4, bytes / 9 * 8 / 4096};
    return hipMallocMipmappedArray((void **)block, &channels, extent, 2, 0);
}
static int mipmapped_of_driver(uint64_t *block, size_t bytes) {
    struct array3d descriptor = {64, 4, bytes / 9 * 8 / 4096, 0x20, 4, 0};
    return hipMipmappedArrayCreate((void **)block, &descriptor, 2);
}
static int release_array(uint64_t block) { return hipFreeArray(POINTER(block)); }
static int release_mipmapped(uint64_t block) { return hipFreeMipmappedArray(POINTER(block)); }
static int destroy_array(uint64_t block) { return hipArrayDestroy(POINTER(block)); }
static int destroy_mipmapped(uint64_t block) { return hipMipmappedArrayDestroy(POINTER(block)); }

static int from_pool(uint64_t *block, size_t bytes) {
    void *pool;
    hipDeviceGetDefaultMemPool(&pool, current_device);
    return hipMallocFromPoolAsync((void **)block, bytes, pool, NULL);
}
/* On the card behind the current one: in a stream of it, or from its pool. */
static void *next_card_stream;
static int in_next_cards_stream(uint64_t *block, size_t bytes) {
    int result = next_card_stream != NULL
                     ? 0
                     : hipSetDevice(current_device + 1) || hipStreamCreate(&next_card_stream) ||
                           hipSetDevice(current_device);
    return result != 0 ? 999 : hipMallocAsync((void **)block, bytes, next_card_stream);
}
static int from_next_cards_pool(uint64_t *block, size_t bytes) {
    void *pool;
    hipDeviceGetDefaultMemPool(&pool, current_device + 1);
    return hipMallocFromPoolAsync((void **)block, bytes, pool, NULL);
}
static void *made_pool;
static int from_made_pool(uint64_t *block, size_t bytes) {
    struct pool_properties properties = {1, 0, 1, current_device, {0}};
    int result = made_pool == NULL ? hipMemPoolCreate(&made_pool, &properties) : 0;
    return result != 0 ? result : hipMallocFromPoolAsync((void **)block, bytes, made_pool, NULL);
}
static int release_in_stream(uint64_t block) { return hipFreeAsync(POINTER(block), NULL); }
/* The driver takes no other sizes. */
static size_t whole_pages(size_t bytes) { return (bytes + 0x1fffff) & ~(size_t)0x1fffff; }
static int physical(uint64_t *block, size_t bytes) {
    struct properties properties = {1, 0, 1, current_device, NULL, {0}};
    return hipMemCreate((void **)block, whole_pages(bytes), &properties, 0);
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
static int release_mapped(uint64_t block) {
    void *handle;
    int retained = hipMemRetainAllocationHandle(&handle, POINTER(block));
    return retained || hipMemRelease(handle) || hipMemUnmap(POINTER(block), mapped_bytes);
}

/* Graphs with one allocation each, which is left to the program; executable in all ways. */
static struct { uint64_t address; void *executable; } graphs[64];
static unsigned graph_count;

static int as_it_is(void **executable, void *graph) {
    return hipGraphInstantiate(executable, graph, NULL, NULL, 0);
}
static int with_graph_flags(void **executable, void *graph) {
    return hipGraphInstantiateWithFlags(executable, graph, 0);
}
static int with_parameters(void **executable, void *graph) {
    struct graph_parameters parameters = {0};
    return hipGraphInstantiateWithParams(executable, graph, &parameters);
}

static int launch_new(uint64_t *block, size_t bytes, int (*instantiate)(void **, void *),
                      int (*launch)(void *, void *)) {
    struct node node = {1, 0, 1, current_device, {0}, bytes, NULL};
    void *graph, *added;
    int result = hipGraphCreate(&graph, 0) ||
                 hipGraphAddMemAllocNode(&added, graph, NULL, 0, &node) ||
                 instantiate(&graphs[graph_count].executable, graph);
    *block = graphs[graph_count].address = (uint64_t)(uintptr_t)node.address;
    result = result != 0 ? 999 : launch(graphs[graph_count].executable, NULL);
    graph_count += result == 0;
    return result;
}
static int launch(void *executable, void *in) { return hipGraphLaunch(executable, in); }
static int upload(void *executable, void *in) { return hipGraphUpload(executable, in); }
static int by_node(uint64_t *block, size_t bytes) {
    return launch_new(block, bytes, with_graph_flags, launch);
}
static int by_plain_graph(uint64_t *block, size_t bytes) {
    return launch_new(block, bytes, as_it_is, launch);
}
static int by_graph_with_parameters(uint64_t *block, size_t bytes) {
    return launch_new(block, bytes, with_parameters, launch);
}
static int by_upload(uint64_t *block, size_t bytes) {
    return launch_new(block, bytes, with_graph_flags, upload);
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
    {"looked_up", looked_up, release},
    {"looked_up_spt", looked_up_spt, release},
    {"async", in_stream, release_in_stream},
    {"next_cards_stream", in_next_cards_stream, release_in_stream},
    {"next_cards_pool", from_next_cards_pool, release_in_stream},
    {"pool", from_pool, release_in_stream},
    {"made_pool", from_made_pool, release_in_stream},
    {"graph_node", by_node, release_graph},
    {"graph_plain", by_plain_graph, release_graph},
    {"graph_parameters", by_graph_with_parameters, release_graph},
    {"graph_uploaded", by_upload, release_graph},
    {"pitched", pitched, release},
    {"pitched_of_driver", pitched_of_driver, release},
    {"volume", volume, release},
    {"array", array, release_array},
    {"array3d", array3d, release_array},
    {"mipmapped", mipmapped, release_mipmapped},
    {"array_of_driver", array_of_driver, destroy_array},
    {"array3d_of_driver", array3d_of_driver, destroy_array},
    {"mipmapped_of_driver", mipmapped_of_driver, destroy_mipmapped},
    {"physical", physical, release_physical},
    {"mapped", mapped, release_mapped},
    {NULL, NULL, NULL},
};
static int reset(void) { return hipDeviceReset(); }
static int synchronize(void) { return hipDeviceSynchronize(); }
static int synchronize_stream(void) { return hipStreamSynchronize(NULL); }
static int synchronize_own_stream(void) { return hipStreamSynchronize_spt(NULL); }
static int synchronize_event(void) {
    void *event;
    return hipEventCreateWithFlags(&event, 0) || hipEventRecord(event, NULL) ||
           hipEventSynchronize(event);
}
static int keep_all(void) {
    void *pool;
    uint64_t all = UINT64_MAX;
    return hipDeviceGetDefaultMemPool(&pool, current_device) ||
           hipMemPoolSetAttribute(pool, 4, &all);
}
static int trim(void) {
    void *pool;
    return hipDeviceGetDefaultMemPool(&pool, current_device) || hipMemPoolTrimTo(pool, 0);
}
static int destroy_pool(void) { return hipMemPoolDestroy(made_pool); }

/* The results are MiB. */
static int total_mib(void) {
    struct properties_r0000 properties;
    return hipGetDeviceProperties(&properties, 0) ? -1 : (int)(properties.total_bytes >> 20);
}
static int total_mib_r0000(void) {
    struct properties_r0000 properties;
    return hipGetDevicePropertiesR0000(&properties, 0) ? -1 : (int)(properties.total_bytes >> 20);
}
static int total_mib_r0600(void) {
    struct properties_r0600 properties;
    return hipGetDevicePropertiesR0600(&properties, 0) ? -1 : (int)(properties.total_bytes >> 20);
}
static int import(void) {
    struct ipc_handle handle = {{0}};
    void *imported;
    return hipIpcOpenMemHandle(&imported, handle, 0) ||
           hipMemImportFromShareableHandle(&imported, NULL, 1) ||
           hipMemPoolImportFromShareableHandle(&imported, NULL, 1, 0) ||
           hipImportExternalMemory(&imported, &handle);
}
static const struct extra extras[] = {
    {"import", import},
    {"reset", reset},
    {"synchronize", synchronize},
    {"synchronize_stream", synchronize_stream},
    {"synchronize_own_stream", synchronize_own_stream},
    {"synchronize_event", synchronize_event},
    {"keep_all", keep_all},
    {"trim", trim},
    {"destroy_pool", destroy_pool},
    {"total_mib", total_mib},
    {"total_mib_r0000", total_mib_r0000},
    {"total_mib_r0600", total_mib_r0600},
    {NULL, NULL},
};
