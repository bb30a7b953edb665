/* The simulated libmusa.so: cards of the scenario, their primary contexts, and memory by size. */
#include "musa.h"

#include "blocks.h"
#include "card_work.h"
#include "pools.h"
#include "runtime_cards.h"
#include "runtime_handles.h"

#define GRANULARITY_BYTES 512
#define CONTEXTS_PUSHED_MAX 16

enum { LOCATION_DEVICE = 1 };

struct MUctx_st {
    int device;
    int references; /* retained so often */
};
static struct MUctx_st primary[HCS_SIM_DEVICES_MAX];
static __thread int pushed[CONTEXTS_PUSHED_MAX]; /* the cards below the current one */
static __thread unsigned pushed_count;
static bool initialised;

HCS_EXPORT MUresult muInit(unsigned flags) {
    hcs_sim_cards_load(HCS_SIM_MTHREADS, "MTHREADS_VISIBLE_DEVICES", "MUSA_VISIBLE_DEVICES");
    for (int device = 0; device < HCS_SIM_DEVICES_MAX; device++) {
        primary[device].device = device;
    }
    initialised = true;
    return flags == 0 ? MUSA_SUCCESS : MUSA_ERROR_INVALID_VALUE;
}

static MUresult check_device(int device) {
    if (!initialised) {
        return MUSA_ERROR_NOT_INITIALIZED;
    }
    return hcs_sim_card(device) != NULL ? MUSA_SUCCESS : MUSA_ERROR_INVALID_DEVICE;
}

HCS_EXPORT MUresult muDeviceGetCount(int *count) {
    *count = (int)hcs_sim_cards_count();
    return initialised ? MUSA_SUCCESS : MUSA_ERROR_NOT_INITIALIZED;
}

HCS_EXPORT MUresult muDeviceTotalMem_v2(size_t *bytes, int device) {
    MUresult result = check_device(device);
    if (result == MUSA_SUCCESS) {
        *bytes = hcs_sim_card(device)->vram_bytes;
    }
    return result;
}

HCS_EXPORT MUresult muDevicePrimaryCtxRetain(MUcontext *context, int device) {
    MUresult result = check_device(device);
    if (result == MUSA_SUCCESS &&
        !hcs_sim_context_begin(hcs_sim_card(device), hcs_sim_card(device))) {
        result = MUSA_ERROR_OUT_OF_MEMORY;
    }
    if (result == MUSA_SUCCESS) {
        __atomic_add_fetch(&primary[device].references, 1, __ATOMIC_RELAXED);
        *context = &primary[device];
    }
    return result;
}

/* Of what ends with a context nothing is left. */
static void empty(int device) {
    hcs_sim_blocks_free_context(hcs_sim_card(device));
    hcs_sim_work_end(hcs_sim_card(device));
}

HCS_EXPORT MUresult muDevicePrimaryCtxReset_v2(int device) {
    MUresult result = check_device(device);
    if (result == MUSA_SUCCESS) {
        empty(device);
        hcs_sim_pools_reset(hcs_sim_card(device));
    }
    return result;
}

HCS_EXPORT MUresult muDevicePrimaryCtxRelease_v2(int device) {
    MUresult result = check_device(device);
    if (result != MUSA_SUCCESS || primary[device].references == 0) {
        return result != MUSA_SUCCESS ? result : MUSA_ERROR_INVALID_CONTEXT;
    }
    if (__atomic_sub_fetch(&primary[device].references, 1, __ATOMIC_RELAXED) == 0) {
        empty(device);
    }
    return MUSA_SUCCESS;
}

HCS_EXPORT MUresult muDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {
    MUresult result = check_device(device);
    if (result == MUSA_SUCCESS) {
        *flags = 0;
        *active = __atomic_load_n(&primary[device].references, __ATOMIC_RELAXED) > 0;
    }
    return result;
}

HCS_EXPORT MUresult muCtxSetCurrent(MUcontext context) {
    hcs_sim_card_choose(context != NULL ? context->device : -1);
    return initialised ? MUSA_SUCCESS : MUSA_ERROR_NOT_INITIALIZED;
}

HCS_EXPORT MUresult muCtxGetCurrent(MUcontext *context) {
    int device = hcs_sim_card_number();
    *context = device >= 0 ? &primary[device] : NULL;
    return initialised ? MUSA_SUCCESS : MUSA_ERROR_NOT_INITIALIZED;
}

HCS_EXPORT MUresult muCtxGetDevice(int *device) {
    *device = hcs_sim_card_number();
    return *device >= 0 ? MUSA_SUCCESS : MUSA_ERROR_INVALID_CONTEXT;
}

HCS_EXPORT MUresult muCtxPushCurrent_v2(MUcontext context) {
    if (context == NULL || pushed_count == CONTEXTS_PUSHED_MAX) {
        return MUSA_ERROR_INVALID_VALUE;
    }
    pushed[pushed_count++] = hcs_sim_card_number();
    return muCtxSetCurrent(context);
}

HCS_EXPORT MUresult muCtxPopCurrent_v2(MUcontext *context) {
    MUcontext popped;
    muCtxGetCurrent(&popped);
    if (popped == NULL) {
        return MUSA_ERROR_INVALID_CONTEXT;
    }
    if (context != NULL) {
        *context = popped;
    }
    hcs_sim_card_choose(pushed_count > 0 ? pushed[--pushed_count] : -1);
    return MUSA_SUCCESS;
}

/* One of those that are always there is the current context's. */
HCS_EXPORT MUresult muStreamGetCtx(void *stream, MUcontext *context) {
    const void *owner = hcs_sim_card_chosen();
    if (stream > HCS_SIM_STREAM_PER_THREAD && !hcs_sim_stream_owner(stream, &owner)) {
        return MUSA_ERROR_INVALID_HANDLE;
    }
    *context = owner != NULL ? &primary[hcs_sim_card_number_of(owner)] : NULL;
    return owner != NULL ? MUSA_SUCCESS : MUSA_ERROR_INVALID_CONTEXT;
}

HCS_EXPORT MUresult muMemAlloc_v2(uint64_t *pointer, size_t bytes) {
    const struct hcs_sim_device *card = hcs_sim_card_chosen();
    if (pointer == NULL || bytes == 0) {
        return MUSA_ERROR_INVALID_VALUE;
    }
    if (card == NULL) {
        return MUSA_ERROR_INVALID_CONTEXT;
    }
    if (bytes > SIZE_MAX - GRANULARITY_BYTES) {
        return MUSA_ERROR_OUT_OF_MEMORY;
    }
    uint64_t rounded = (bytes + GRANULARITY_BYTES - 1) / GRANULARITY_BYTES * GRANULARITY_BYTES;
    uint64_t address = hcs_sim_block_allocate(card, rounded, card);
    if (address == 0) {
        return MUSA_ERROR_OUT_OF_MEMORY;
    }
    *pointer = address;
    return MUSA_SUCCESS;
}

HCS_EXPORT MUresult muMemAllocManaged(uint64_t *pointer, size_t bytes, unsigned flags) {
    (void)flags;
    return muMemAlloc_v2(pointer, bytes);
}

HCS_EXPORT MUresult muMemAllocPitch_v2(uint64_t *pointer, size_t *pitch, size_t width,
                                       size_t height, unsigned element) {
    (void)element;
    *pitch = (width + GRANULARITY_BYTES - 1) / GRANULARITY_BYTES * GRANULARITY_BYTES;
    return muMemAlloc_v2(pointer, *pitch * height);
}

static MUresult done(bool possible) { return possible ? MUSA_SUCCESS : MUSA_ERROR_INVALID_VALUE; }

HCS_EXPORT MUresult muMemFree_v2(uint64_t pointer) {
    return done(pointer == 0 || hcs_sim_block_free(pointer));
}

HCS_EXPORT MUresult muMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes) {
    const struct hcs_sim_device *card = hcs_sim_card_chosen();
    if (card == NULL) {
        return MUSA_ERROR_INVALID_CONTEXT;
    }
    *free_bytes = hcs_sim_memory_free(card);
    *total_bytes = card->vram_bytes;
    return MUSA_SUCCESS;
}

HCS_EXPORT MUresult muMemAddressReserve(uint64_t *address, size_t bytes, size_t alignment,
                                        uint64_t wanted, uint64_t flags) {
    (void)alignment;
    (void)wanted;
    (void)flags;
    *address = hcs_sim_addresses_reserve(bytes);
    return MUSA_SUCCESS;
}

HCS_EXPORT MUresult muMemCreate(uint64_t *handle, size_t bytes,
                                const struct memory_location *location, uint64_t flags) {
    (void)flags;
    bool sane = handle != NULL && location != NULL && bytes > 0 &&
                bytes % HCS_SIM_HANDLE_GRANULARITY_BYTES == 0 &&
                location->location_type == LOCATION_DEVICE;
    const struct hcs_sim_device *card = sane ? hcs_sim_card(location->location_id) : NULL;
    if (card == NULL) {
        return MUSA_ERROR_INVALID_VALUE;
    }
    *handle = hcs_sim_handle_create(card, bytes, NULL);
    return *handle != 0 ? MUSA_SUCCESS : MUSA_ERROR_OUT_OF_MEMORY;
}

HCS_EXPORT MUresult muMemMap(uint64_t address, size_t bytes, size_t offset, uint64_t handle,
                             uint64_t flags) {
    (void)offset;
    (void)flags;
    return done(hcs_sim_handle_map(address, bytes, handle));
}

HCS_EXPORT MUresult muMemUnmap(uint64_t address, size_t bytes) {
    return done(bytes > 0 && hcs_sim_handle_unmap(address, bytes));
}

HCS_EXPORT MUresult muMemRetainAllocationHandle(uint64_t *handle, void *address) {
    return done(handle != NULL && hcs_sim_handle_retain((uint64_t)(uintptr_t)address, handle));
}

HCS_EXPORT MUresult muMemRelease(uint64_t handle) { return done(hcs_sim_handle_release(handle)); }
