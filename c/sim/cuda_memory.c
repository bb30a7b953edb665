/* The memory of the simulated libcuda.so.1, in all the forms that the real one has. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "cuda.h"
#include "graph_memory.h"
#include "runtime_handles.h"

#define GRANULARITY_BYTES 512 /* cuMemAlloc hands out multiples of this */
#define PITCH_BYTES 512

static CUresult allocate(CUdeviceptr *pointer, size_t bytes, const void *context) {
    if (pointer == NULL || bytes == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    CUresult result = hcs_cuda_check_current();
    if (result != CUDA_SUCCESS) {
        return result;
    }
    if (bytes > SIZE_MAX - GRANULARITY_BYTES) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    uint64_t rounded = (bytes + GRANULARITY_BYTES - 1) / GRANULARITY_BYTES * GRANULARITY_BYTES;
    uint64_t address = hcs_sim_block_allocate(hcs_cuda_current_card(), rounded, context);
    if (address == 0) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *pointer = address;
    return CUDA_SUCCESS;
}

static CUresult done(bool possible) { return possible ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE; }

HCS_EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes) {
    return allocate(pointer, bytes, hcs_cuda_current());
}

HCS_EXPORT CUresult cuMemAllocManaged(CUdeviceptr *pointer, size_t bytes, unsigned flags) {
    return flags == 0 ? CUDA_ERROR_INVALID_VALUE : allocate(pointer, bytes, hcs_cuda_current());
}

HCS_EXPORT CUresult cuMemAllocPitch_v2(CUdeviceptr *pointer, size_t *pitch, size_t width,
                                       size_t height, unsigned element) {
    if (pitch == NULL || (element != 4 && element != 8 && element != 16)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *pitch = (width + PITCH_BYTES - 1) / PITCH_BYTES * PITCH_BYTES;
    return allocate(pointer, *pitch * height, hcs_cuda_current());
}

HCS_EXPORT CUresult cuMemFree_v2(CUdeviceptr pointer) {
    CUresult result = hcs_cuda_check_current();
    if (result != CUDA_SUCCESS || pointer == 0) {
        return result;
    }
    return done(hcs_sim_block_free(pointer) || hcs_sim_graph_allocation_free(pointer));
}

static size_t format_bytes(unsigned format) {
    bool two = format == 0x02 || format == 0x09 || format == 0x10;
    bool four = format == 0x03 || format == 0x0a || format == 0x20;
    return two ? 2 : four ? 4 : 1;
}

static CUresult allocate_array(void **array, size_t bytes) {
    CUdeviceptr pointer = 0;
    CUresult result = array == NULL ? CUDA_ERROR_INVALID_VALUE
                                    : allocate(&pointer, bytes, hcs_cuda_current());
    if (result == CUDA_SUCCESS) {
        *array = (void *)(uintptr_t)pointer;
    }
    return result;
}

static size_t texels(size_t width, size_t height, size_t depth) {
    return width * (height > 0 ? height : 1) * (depth > 0 ? depth : 1);
}

HCS_EXPORT CUresult cuArrayCreate_v2(void **array, const CUDA_ARRAY_DESCRIPTOR *descriptor) {
    return allocate_array(array, texels(descriptor->Width, descriptor->Height, 1) *
                                     descriptor->NumChannels * format_bytes(descriptor->Format));
}

HCS_EXPORT CUresult cuArray3DCreate_v2(void **array, const CUDA_ARRAY3D_DESCRIPTOR *descriptor) {
    return allocate_array(
        array, texels(descriptor->Width, descriptor->Height, descriptor->Depth) *
                   descriptor->NumChannels * format_bytes(descriptor->Format));
}

HCS_EXPORT CUresult cuMipmappedArrayCreate(void **array,
                                           const CUDA_ARRAY3D_DESCRIPTOR *descriptor,
                                           unsigned levels) {
    size_t bytes = 0;
    for (unsigned level = 0; level < levels; level++) {
        bytes += texels(descriptor->Width >> level > 0 ? descriptor->Width >> level : 1,
                        descriptor->Height >> level, descriptor->Depth >> level) *
                 descriptor->NumChannels * format_bytes(descriptor->Format);
    }
    return allocate_array(array, bytes);
}

HCS_EXPORT CUresult cuArrayDestroy(void *array) {
    return done(hcs_sim_block_free((uint64_t)(uintptr_t)array));
}

HCS_EXPORT CUresult cuMipmappedArrayDestroy(void *array) { return cuArrayDestroy(array); }

HCS_EXPORT CUresult cuMemAddressReserve(CUdeviceptr *pointer, size_t bytes, size_t alignment,
                                        CUdeviceptr wanted, uint64_t flags) {
    (void)alignment;
    (void)wanted;
    (void)flags;
    *pointer = hcs_sim_addresses_reserve(bytes);
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t bytes,
                                const CUmemAllocationProp *properties, uint64_t flags) {
    bool sane = handle != NULL && properties != NULL && flags == 0 && bytes > 0 &&
                bytes % HCS_SIM_HANDLE_GRANULARITY_BYTES == 0;
    const struct hcs_sim_device *card =
        sane ? hcs_cuda_card_at(properties->location.type, properties->location.id) : NULL;
    if (card == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *handle = hcs_sim_handle_create(card, bytes, NULL);
    return *handle != 0 ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

HCS_EXPORT CUresult cuMemMap(CUdeviceptr pointer, size_t bytes, size_t offset,
                             CUmemGenericAllocationHandle handle, uint64_t flags) {
    return done(offset == 0 && flags == 0 && hcs_sim_handle_map(pointer, bytes, handle));
}

HCS_EXPORT CUresult cuMemUnmap(CUdeviceptr pointer, size_t bytes) {
    return done(bytes > 0 && hcs_sim_handle_unmap(pointer, bytes));
}

HCS_EXPORT CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle,
                                                void *address) {
    return done(hcs_sim_handle_retain((uint64_t)(uintptr_t)address, handle));
}

HCS_EXPORT CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
    return done(hcs_sim_handle_release(handle));
}

/* Host memory stays host memory. */
HCS_EXPORT CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) {
    (void)flags;
    CUresult result = hcs_cuda_check_current();
    if (result != CUDA_SUCCESS || pointer == NULL || bytes == 0) {
        return result != CUDA_SUCCESS ? result : CUDA_ERROR_INVALID_VALUE;
    }
    *pointer = malloc(bytes);
    return *pointer != NULL ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

HCS_EXPORT CUresult cuMemFreeHost(void *pointer) {
    free(pointer);
    return done(pointer != NULL);
}

HCS_EXPORT CUresult cuMemHostRegister_v2(void *pointer, size_t bytes, unsigned flags) {
    (void)flags;
    return done(pointer != NULL && bytes > 0);
}

HCS_EXPORT CUresult cuMemHostUnregister(void *pointer) { return done(pointer != NULL); }

/* The exporter's address, seen in the importer at another one. */
HCS_EXPORT CUresult cuIpcGetMemHandle(CUipcMemHandle *handle, CUdeviceptr pointer) {
    memset(handle, 0, sizeof *handle);
    memcpy(handle->reserved, &pointer, sizeof pointer);
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuIpcOpenMemHandle_v2(CUdeviceptr *pointer, CUipcMemHandle handle,
                                          unsigned flags) {
    (void)handle;
    (void)flags;
    *pointer = hcs_sim_addresses_reserve(HCS_SIM_HANDLE_GRANULARITY_BYTES);
    return hcs_cuda_check_current();
}

HCS_EXPORT CUresult cuIpcOpenMemHandle(CUdeviceptr *pointer, CUipcMemHandle handle,
                                       unsigned flags) {
    return cuIpcOpenMemHandle_v2(pointer, handle, flags);
}

/* What is imported is the exporter's: nothing of a card is taken for it. */
HCS_EXPORT CUresult cuMemImportFromShareableHandle(uint64_t *handle, void *exported, int type) {
    (void)type;
    *handle = (uint64_t)(uintptr_t)exported;
    return hcs_cuda_check_current();
}

HCS_EXPORT CUresult cuMemPoolImportFromShareableHandle(void **pool, void *exported, int type,
                                                       uint64_t flags) {
    (void)type;
    *pool = exported;
    return flags == 0 ? hcs_cuda_check_current() : CUDA_ERROR_INVALID_VALUE;
}

HCS_EXPORT CUresult cuImportExternalMemory(void **memory, const void *descriptor) {
    static char imported;
    *memory = &imported;
    return descriptor != NULL ? hcs_cuda_check_current() : CUDA_ERROR_INVALID_VALUE;
}

HCS_EXPORT CUresult cuIpcCloseMemHandle(CUdeviceptr pointer) { return done(pointer != 0); }

HCS_EXPORT CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes) {
    CUresult result = hcs_cuda_check_current();
    if (result == CUDA_SUCCESS && (free_bytes == NULL || total_bytes == NULL)) {
        result = CUDA_ERROR_INVALID_VALUE;
    }
    if (result == CUDA_SUCCESS) {
        *free_bytes = hcs_sim_memory_free(hcs_cuda_current_card());
        *total_bytes = hcs_cuda_current_card()->vram_bytes;
    }
    return result;
}
