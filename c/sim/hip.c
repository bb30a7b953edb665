/* The simulated libamdhip64.so; names and numbers from ROCm's hip_runtime_api.h. Here are cards and
 * plain memory; arrays, pools, work, launches and the lookup have files of their own. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "blocks.h"
#include "card_work.h"
#include "hip.h"
#include "pools.h"
#include "runtime_handles.h"

#define GRANULARITY_BYTES 4096 /* a page of the card */
#define PITCH_BYTES 256

enum { LOCATION_DEVICE = 1 };

/* Every call initialises, and a thread that chose no card works on the first. */
static const struct hcs_sim_device *current(void) {
    hcs_sim_cards_load(HCS_SIM_HYGON, "HYGON_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES");
    if (hcs_sim_card_number() < 0) {
        hcs_sim_card_choose(0);
    }
    return hcs_sim_card_chosen();
}

const struct hcs_sim_device *hcs_hip_card(void) { return current(); }

HCS_EXPORT hipError_t hipInit(unsigned flags) {
    return flags == 0 && current() != NULL ? hipSuccess : hipErrorInvalidValue;
}

HCS_EXPORT hipError_t hipGetDeviceCount(int *count) {
    current();
    *count = (int)hcs_sim_cards_count();
    return hipSuccess;
}

HCS_EXPORT hipError_t hipGetDevice(int *device) {
    current();
    *device = hcs_sim_card_number();
    return hipSuccess;
}

HCS_EXPORT hipError_t hipSetDevice(int device) {
    current();
    if (hcs_sim_card(device) == NULL) {
        return hipErrorInvalidDevice;
    }
    if (!hcs_sim_context_begin(hcs_sim_card(device), hcs_sim_card(device))) {
        return hipErrorOutOfMemory;
    }
    hcs_sim_card_choose(device);
    return hipSuccess;
}

static __thread hipError_t last_error;

hipError_t hcs_hip_answer(hipError_t result) { return last_error = result; }

HCS_EXPORT hipError_t hipPeekAtLastError(void) { return last_error; }

HCS_EXPORT hipError_t hipGetLastError(void) {
    hipError_t result = last_error;
    last_error = hipSuccess;
    return result;
}

HCS_EXPORT hipError_t hipDeviceReset(void) {
    hcs_sim_blocks_free_context(current());
    hcs_sim_pools_reset(current());
    hcs_sim_work_end(current());
    return hipSuccess;
}

HCS_EXPORT hipError_t hipDeviceTotalMem(size_t *bytes, int device) {
    current();
    const struct hcs_sim_device *card = hcs_sim_card(device);
    if (card == NULL) {
        return hipErrorInvalidDevice;
    }
    *bytes = card->vram_bytes;
    return hipSuccess;
}

/* Of a card's properties only its name and its size; in the form of ROCm 6, and of before. */
#define PROPERTIES(FORM)                                                                           \
    HCS_EXPORT hipError_t hipGetDeviceProperties##FORM(                                            \
        struct hipDeviceProp_t##FORM *properties, int device) {                                    \
        current();                                                                                 \
        const struct hcs_sim_device *card = hcs_sim_card(device);                                  \
        if (card == NULL || properties == NULL) {                                                  \
            return properties == NULL ? hipErrorInvalidValue : hipErrorInvalidDevice;              \
        }                                                                                          \
        *properties = (struct hipDeviceProp_t##FORM){.totalGlobalMem = card->vram_bytes};          \
        snprintf(properties->name, sizeof properties->name, "%s", card->model);                    \
        return hipSuccess;                                                                         \
    }
PROPERTIES(R0600)
PROPERTIES(R0000)

/* The name that programs older than ROCm 6 are linked with. */
HCS_EXPORT hipError_t hipGetDeviceProperties(struct hipDeviceProp_tR0000 *properties,
                                             int device) {
    return hipGetDevicePropertiesR0000(properties, device);
}

HCS_EXPORT hipError_t hipMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    const struct hcs_sim_device *card = current();
    if (card == NULL || free_bytes == NULL || total_bytes == NULL) {
        return hipErrorInvalidValue;
    }
    *free_bytes = hcs_sim_memory_free(card);
    *total_bytes = card->vram_bytes;
    return hipSuccess;
}

HCS_EXPORT hipError_t hipMalloc(void **pointer, size_t bytes) {
    const struct hcs_sim_device *card = current();
    if (card == NULL || pointer == NULL) {
        return hipErrorInvalidValue;
    }
    if (bytes == 0) {
        *pointer = NULL;
        return hipSuccess;
    }
    if (bytes > SIZE_MAX - GRANULARITY_BYTES) {
        return hipErrorOutOfMemory;
    }
    uint64_t rounded = (bytes + GRANULARITY_BYTES - 1) / GRANULARITY_BYTES * GRANULARITY_BYTES;
    uint64_t address = hcs_sim_block_allocate(card, rounded, card);
    if (address == 0) {
        return hipErrorOutOfMemory;
    }
    *pointer = (void *)(uintptr_t)address;
    return hipSuccess;
}

HCS_EXPORT hipError_t hipExtMallocWithFlags(void **pointer, size_t bytes, unsigned flags) {
    (void)flags;
    return hipMalloc(pointer, bytes);
}

HCS_EXPORT hipError_t hipMallocManaged(void **pointer, size_t bytes, unsigned flags) {
    (void)flags;
    return hipMalloc(pointer, bytes);
}

HCS_EXPORT hipError_t hipMallocPitch(void **pointer, size_t *pitch, size_t width, size_t height) {
    *pitch = (width + PITCH_BYTES - 1) / PITCH_BYTES * PITCH_BYTES;
    return hipMalloc(pointer, *pitch * height);
}

HCS_EXPORT hipError_t hipMemAllocPitch(void **pointer, size_t *pitch, size_t width, size_t height,
                                       unsigned element) {
    bool sane = element == 4 || element == 8 || element == 16;
    return sane ? hipMallocPitch(pointer, pitch, width, height) : hipErrorInvalidValue;
}

HCS_EXPORT hipError_t hipMalloc3D(struct hipPitchedPtr *pitched, struct hipExtent extent) {
    pitched->xsize = extent.width;
    pitched->ysize = extent.height;
    return hipMallocPitch(&pitched->ptr, &pitched->pitch, extent.width,
                          extent.height * extent.depth);
}

HCS_EXPORT hipError_t hipMemAddressReserve(void **address, size_t bytes, size_t alignment,
                                           void *wanted, uint64_t flags) {
    (void)alignment;
    (void)wanted;
    (void)flags;
    *address = (void *)(uintptr_t)hcs_sim_addresses_reserve(bytes);
    return hipSuccess;
}

HCS_EXPORT hipError_t hipMemCreate(void **handle, size_t bytes,
                                   const struct memory_location *location, uint64_t flags) {
    (void)flags;
    current();
    bool sane = handle != NULL && location != NULL && bytes > 0 &&
                bytes % HCS_SIM_HANDLE_GRANULARITY_BYTES == 0 &&
                location->location_type == LOCATION_DEVICE;
    const struct hcs_sim_device *card = sane ? hcs_sim_card(location->location_id) : NULL;
    if (card == NULL) {
        return hipErrorInvalidValue;
    }
    *handle = (void *)(uintptr_t)hcs_sim_handle_create(card, bytes, card);
    return *handle != NULL ? hipSuccess : hipErrorOutOfMemory;
}

static hipError_t done(bool possible) { return possible ? hipSuccess : hipErrorInvalidValue; }

HCS_EXPORT hipError_t hipMemMap(void *address, size_t bytes, size_t offset, void *handle,
                                uint64_t flags) {
    (void)offset;
    (void)flags;
    return done(hcs_sim_handle_map((uint64_t)(uintptr_t)address, bytes,
                                   (uint64_t)(uintptr_t)handle));
}

HCS_EXPORT hipError_t hipMemUnmap(void *address, size_t bytes) {
    return done(bytes > 0 && hcs_sim_handle_unmap((uint64_t)(uintptr_t)address, bytes));
}

HCS_EXPORT hipError_t hipMemRetainAllocationHandle(void **handle, void *address) {
    uint64_t found;
    bool known = hcs_sim_handle_retain((uint64_t)(uintptr_t)address, &found);
    *handle = known ? (void *)(uintptr_t)found : *handle;
    return done(known);
}

HCS_EXPORT hipError_t hipMemRelease(void *handle) {
    return done(hcs_sim_handle_release((uint64_t)(uintptr_t)handle));
}

/* What is imported is the exporter's: nothing of a card is taken for it. */
HCS_EXPORT hipError_t hipIpcOpenMemHandle(void **pointer, hipIpcMemHandle_t handle,
                                          unsigned flags) {
    (void)handle;
    (void)flags;
    *pointer = (void *)(uintptr_t)hcs_sim_addresses_reserve(HCS_SIM_HANDLE_GRANULARITY_BYTES);
    return hipSuccess;
}

HCS_EXPORT hipError_t hipMemImportFromShareableHandle(void **handle, void *exported, int type) {
    (void)type;
    *handle = exported;
    return hipSuccess;
}

HCS_EXPORT hipError_t hipMemPoolImportFromShareableHandle(void **pool, void *exported, int type,
                                                          unsigned flags) {
    (void)type;
    *pool = exported;
    return done(flags == 0);
}

HCS_EXPORT hipError_t hipImportExternalMemory(void **memory, const void *descriptor) {
    static char imported;
    *memory = &imported;
    return done(descriptor != NULL);
}
