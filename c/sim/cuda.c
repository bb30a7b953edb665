/* The simulated libcuda.so.1: cards of the scenario, contexts, and memory by size only.
 *
 * Like the real driver it is dead in a child forked after cuInit (every call says NOT_INITIALIZED),
 * and a call without a current context says INVALID_CONTEXT.
 */
#include "cuda.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blocks.h"
#include "visible.h"

#define GRANULARITY_BYTES 512 /* cuMemAlloc hands out multiples of this */

struct CUctx_st {
    CUdevice device;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pid_t owner;                    /* the process that initialised; 0: nobody */
static struct hcs_sim_visible visible; /* fixed at cuInit, as the real one's */
static struct CUctx_st primary[HCS_SIM_DEVICES_MAX];
static __thread CUcontext current;

static void load(void) {
    /* The snapshot is never released: `visible` points into it as long as the process lives. */
    const struct hcs_sim_scenario *scenario = hcs_sim_scenario_acquire();
    if (scenario != NULL) {
        hcs_sim_visible(scenario, HCS_SIM_NVIDIA, getenv("NVIDIA_VISIBLE_DEVICES"),
                        getenv("CUDA_VISIBLE_DEVICES"), &visible);
    }
    for (int device = 0; device < HCS_SIM_DEVICES_MAX; device++) {
        primary[device].device = device;
    }
}

HCS_EXPORT CUresult cuInit(unsigned flags) {
    if (flags != 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    if (owner != 0 && owner != getpid()) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    pthread_mutex_lock(&mutex);
    if (owner == 0) {
        load();
        owner = visible.count > 0 ? getpid() : 0;
    }
    pthread_mutex_unlock(&mutex);
    return owner != 0 ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}

static CUresult check_device(CUdevice device) {
    if (owner == 0 || owner != getpid()) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    bool known = device >= 0 && (unsigned)device < visible.count;
    return known ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

static CUresult check_current(void) {
    if (owner == 0 || owner != getpid()) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    return current != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

HCS_EXPORT CUresult cuDriverGetVersion(int *version) {
    if (version == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *version = CUDA_DRIVER_VERSION;
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuDeviceGetCount(int *count) {
    if (owner == 0 || owner != getpid()) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    if (count == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *count = (int)visible.count;
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    CUresult result = device == NULL ? CUDA_ERROR_INVALID_VALUE : check_device(ordinal);
    if (result == CUDA_SUCCESS) {
        *device = ordinal;
    }
    return result;
}

HCS_EXPORT CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
    CUresult result = check_device(device);
    if (result == CUDA_SUCCESS && (name == NULL || length <= 0)) {
        result = CUDA_ERROR_INVALID_VALUE;
    }
    if (result == CUDA_SUCCESS) {
        snprintf(name, (size_t)length, "%s", visible.devices[device]->model);
    }
    return result;
}

/* The sixteen bytes behind "GPU-5ec0ffee-…". */
static CUuuid parse_uuid(const char *id) {
    CUuuid uuid = {{0}};
    const char *hex = strchr(id, '-');
    for (unsigned digit = 0; hex != NULL && *hex != '\0' && digit < 32; hex++) {
        if (*hex != '-') {
            char text[2] = {*hex, '\0'};
            unsigned value = (unsigned)strtoul(text, NULL, 16);
            uuid.bytes[digit / 2] = (char)((unsigned char)uuid.bytes[digit / 2] << 4 | value);
            digit++;
        }
    }
    return uuid;
}

HCS_EXPORT CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
    CUresult result = uuid == NULL ? CUDA_ERROR_INVALID_VALUE : check_device(device);
    if (result == CUDA_SUCCESS) {
        *uuid = parse_uuid(visible.devices[device]->id);
    }
    return result;
}

HCS_EXPORT CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device) {
    return cuDeviceGetUuid_v2(uuid, device);
}

HCS_EXPORT CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
    CUresult result = bytes == NULL ? CUDA_ERROR_INVALID_VALUE : check_device(device);
    if (result == CUDA_SUCCESS) {
        *bytes = visible.devices[device]->vram_bytes;
    }
    return result;
}

HCS_EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    CUresult result = context == NULL ? CUDA_ERROR_INVALID_VALUE : check_device(device);
    if (result == CUDA_SUCCESS) {
        *context = &primary[device];
    }
    return result;
}

/* The primary context stays: counting its users is of no use to anybody yet. */
HCS_EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) { return check_device(device); }

HCS_EXPORT CUresult cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device) {
    (void)flags;
    CUresult result = context == NULL ? CUDA_ERROR_INVALID_VALUE : check_device(device);
    if (result != CUDA_SUCCESS) {
        return result;
    }
    CUcontext made = malloc(sizeof *made);
    if (made == NULL) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    made->device = device;
    *context = current = made;
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuCtxDestroy_v2(CUcontext context) {
    bool is_primary = context >= primary && context < primary + HCS_SIM_DEVICES_MAX;
    if (context == NULL || is_primary) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    hcs_sim_blocks_free_context(context);
    current = current == context ? NULL : current;
    free(context);
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuCtxSetCurrent(CUcontext context) {
    if (owner == 0 || owner != getpid()) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    current = context;
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuCtxGetCurrent(CUcontext *context) {
    if (owner == 0 || owner != getpid()) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    if (context == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *context = current;
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuCtxGetDevice(CUdevice *device) {
    CUresult result = device == NULL ? CUDA_ERROR_INVALID_VALUE : check_current();
    if (result == CUDA_SUCCESS) {
        *device = current->device;
    }
    return result;
}

HCS_EXPORT CUresult cuCtxSynchronize(void) { return check_current(); }

HCS_EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes) {
    if (pointer == NULL || bytes == 0) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    CUresult result = check_current();
    if (result != CUDA_SUCCESS) {
        return result;
    }
    if (bytes > SIZE_MAX - GRANULARITY_BYTES) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    uint64_t rounded = (bytes + GRANULARITY_BYTES - 1) / GRANULARITY_BYTES * GRANULARITY_BYTES;
    uint64_t address = hcs_sim_block_allocate(visible.devices[current->device], rounded, current);
    if (address == 0) {
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *pointer = address;
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuMemFree_v2(CUdeviceptr pointer) {
    CUresult result = check_current();
    if (result != CUDA_SUCCESS || pointer == 0) {
        return result;
    }
    return hcs_sim_block_free(pointer) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

HCS_EXPORT CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes) {
    CUresult result = check_current();
    if (result == CUDA_SUCCESS && (free_bytes == NULL || total_bytes == NULL)) {
        result = CUDA_ERROR_INVALID_VALUE;
    }
    if (result == CUDA_SUCCESS) {
        *free_bytes = hcs_sim_memory_free(visible.devices[current->device]);
        *total_bytes = visible.devices[current->device]->vram_bytes;
    }
    return result;
}

HCS_EXPORT CUresult cuGetErrorName(CUresult error, const char **name) {
    static const struct { CUresult error; const char *name; } names[] = {
        {CUDA_SUCCESS, "CUDA_SUCCESS"},
        {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
        {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
        {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED"},
        {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},
        {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
        {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
        {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].error == error) {
            *name = names[i].name;
            return CUDA_SUCCESS;
        }
    }
    *name = NULL;
    return CUDA_ERROR_INVALID_VALUE;
}

/* By name without suffix and the CUDA version from which that form of it exists: newest first. */
static const struct { const char *name; int since; void *function; } entries[] = {
    {"cuInit", 2000, cuInit},
    {"cuDriverGetVersion", 2020, cuDriverGetVersion},
    {"cuDeviceGetCount", 2000, cuDeviceGetCount},
    {"cuDeviceGet", 2000, cuDeviceGet},
    {"cuDeviceGetName", 2000, cuDeviceGetName},
    {"cuDeviceGetUuid", 11040, cuDeviceGetUuid_v2},
    {"cuDeviceGetUuid", 9020, cuDeviceGetUuid},
    {"cuDeviceTotalMem", 3020, cuDeviceTotalMem_v2},
    {"cuDevicePrimaryCtxRetain", 7000, cuDevicePrimaryCtxRetain},
    {"cuDevicePrimaryCtxRelease", 11000, cuDevicePrimaryCtxRelease_v2},
    {"cuCtxCreate", 3020, cuCtxCreate_v2},
    {"cuCtxDestroy", 4000, cuCtxDestroy_v2},
    {"cuCtxSetCurrent", 4000, cuCtxSetCurrent},
    {"cuCtxGetCurrent", 4000, cuCtxGetCurrent},
    {"cuCtxGetDevice", 2000, cuCtxGetDevice},
    {"cuCtxSynchronize", 2000, cuCtxSynchronize},
    {"cuMemAlloc", 3020, cuMemAlloc_v2},
    {"cuMemFree", 3020, cuMemFree_v2},
    {"cuMemGetInfo", 3020, cuMemGetInfo_v2},
    {"cuGetErrorName", 6000, cuGetErrorName},
    {"cuGetProcAddress", 12000, cuGetProcAddress_v2},
    {"cuGetProcAddress", 11030, cuGetProcAddress},
};

HCS_EXPORT CUresult cuGetProcAddress_v2(const char *symbol, void **function, int version,
                                        uint64_t flags, int *status) {
    (void)flags; /* no entry has a per-thread-stream form yet */
    if (symbol == NULL || function == NULL) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    *function = NULL;
    int found = PROC_ADDRESS_NOT_FOUND;
    for (size_t i = 0; i < sizeof entries / sizeof *entries && *function == NULL; i++) {
        if (strcmp(entries[i].name, symbol) == 0) {
            bool enough = version >= entries[i].since;
            *function = enough ? entries[i].function : NULL;
            found = enough ? PROC_ADDRESS_SUCCESS : PROC_ADDRESS_OLD_VERSION;
        }
    }
    if (status != NULL) {
        *status = found;
        return CUDA_SUCCESS;
    }
    return *function != NULL ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

HCS_EXPORT CUresult cuGetProcAddress(const char *symbol, void **function, int version,
                                     uint64_t flags) {
    return cuGetProcAddress_v2(symbol, function, version, flags, NULL);
}
