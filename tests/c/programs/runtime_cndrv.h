/* Cambricon's driver API. */
#define LIBRARY "libcndrv.so"
#define FUNCTIONS(X)                                                                               \
    X(cnInit, (unsigned))                                                                          \
    X(cnSharedContextAcquire, (void **, uint64_t))                                                 \
    X(cnSharedContextReset, (uint64_t))                                                            \
    X(cnCtxSetCurrent, (void *))                                                                   \
    X(cnMalloc, (uint64_t *, uint64_t))                                                            \
    X(cnZmalloc, (uint64_t *, uint64_t))                                                           \
    X(cnMallocConstant, (uint64_t *, uint64_t))                                                    \
    X(cnMallocPeerAble, (uint64_t *, uint64_t))                                                    \
    X(cnMallocNode, (uint64_t *, uint64_t, int))                                                   \
    X(cnFree, (uint64_t))                                                                          \
    X(cnMemGetInfo, (uint64_t *, uint64_t *))                                                      \
    X(cnDeviceTotalMem, (uint64_t *, uint64_t))                                                    \
    X(cnGetExportFunction, (const char *, const void **))
FUNCTIONS(DECLARE)

static int current_device;

static int begin(void) { return cnInit(0); }
static int use_device(int device) {
    void *context;
    int result = cnSharedContextAcquire(&context, (uint64_t)(current_device = device));
    return result != 0 ? result : cnCtxSetCurrent(context);
}
static int info(size_t *free_, size_t *total) { return cnMemGetInfo(free_, total); }
static int total_of(size_t *bytes, int device) { return cnDeviceTotalMem(bytes, (uint64_t)device); }
static int classic(uint64_t *block, size_t bytes) { return cnMalloc(block, bytes); }
static int zeroed(uint64_t *block, size_t bytes) { return cnZmalloc(block, bytes); }
static int constant(uint64_t *block, size_t bytes) { return cnMallocConstant(block, bytes); }
static int peer(uint64_t *block, size_t bytes) { return cnMallocPeerAble(block, bytes); }
static int on_node(uint64_t *block, size_t bytes) { return cnMallocNode(block, bytes, 0); }
static int release(uint64_t block) { return cnFree(block); }

/* By the driver's own lookup. */
static int exported(uint64_t *block, size_t bytes) {
    int (*allocate)(uint64_t *, uint64_t);
    int result = cnGetExportFunction("cnMalloc", (const void **)&allocate);
    return result != 0 ? result : allocate(block, bytes);
}

static const struct kind kinds[] = {
    {"classic", classic, release},
    {"zeroed", zeroed, release},
    {"constant", constant, release},
    {"peer", peer, release},
    {"on_node", on_node, release},
    {"exported", exported, release},
    {NULL, NULL, NULL},
};
static int reset(void) { return cnSharedContextReset((uint64_t)current_device); }
static const struct extra extras[] = {{"reset", reset}, {NULL, NULL}};
