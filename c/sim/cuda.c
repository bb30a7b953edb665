/* The simulated libcuda.so.1: cards of the scenario, contexts, memory by size (cuda_memory.c) and
 * kernels by duration (cuda_work.c).
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
#include "card_work.h"
#include "visible.h"

#define CONTEXTS_PUSHED_MAX 16

struct CUctx_st {
    CUdevice device;
    unsigned users; /* of a primary context, which ends with the last one */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pid_t owner;                    /* the process that initialised; 0: nobody */
static struct hcs_sim_visible visible; /* fixed at cuInit, as the real one's */
static struct CUctx_st primary[HCS_SIM_DEVICES_MAX];
static __thread CUcontext current;
static __thread CUcontext pushed[CONTEXTS_PUSHED_MAX]; /* below the current one */
static __thread unsigned pushed_count;

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
    if (result == CUDA_SUCCESS &&
        !hcs_sim_context_begin(visible.devices[device], &primary[device])) {
        result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (result == CUDA_SUCCESS) {
        __atomic_fetch_add(&primary[device].users, 1, __ATOMIC_RELAXED);
        *context = &primary[device];
    }
    return result;
}

HCS_EXPORT CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
    CUresult result = check_device(device);
    if (result == CUDA_SUCCESS) {
        hcs_sim_blocks_free_context(&primary[device]);
        hcs_sim_work_end(&primary[device]);
        current = current == &primary[device] ? NULL : current;
    }
    return result;
}

HCS_EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    CUresult result = check_device(device);
    if (result != CUDA_SUCCESS) {
        return result;
    }
    if (primary[device].users == 0) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    bool last = __atomic_sub_fetch(&primary[device].users, 1, __ATOMIC_RELAXED) == 0;
    return last ? cuDevicePrimaryCtxReset_v2(device) : CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuDevicePrimaryCtxReset(CUdevice device) {
    return cuDevicePrimaryCtxReset_v2(device);
}

HCS_EXPORT CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
    return cuDevicePrimaryCtxRelease_v2(device);
}

HCS_EXPORT CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
    CUresult result = check_device(device);
    if (result == CUDA_SUCCESS) {
        *flags = 0;
        *active = primary[device].users > 0;
    }
    return result;
}

HCS_EXPORT CUresult cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device) {
    (void)flags;
    CUresult result = context == NULL ? CUDA_ERROR_INVALID_VALUE : check_device(device);
    if (result != CUDA_SUCCESS) {
        return result;
    }
    CUcontext made = malloc(sizeof *made);
    if (made == NULL || !hcs_sim_context_begin(visible.devices[device], made)) {
        free(made);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    made->device = device;
    *context = current = made;
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuCtxCreate(CUcontext *context, unsigned flags, CUdevice device) {
    return cuCtxCreate_v2(context, flags, device);
}

HCS_EXPORT CUresult cuCtxCreate_v3(CUcontext *context, void *affinities, int count,
                                   unsigned flags, CUdevice device) {
    (void)affinities, (void)count;
    return cuCtxCreate_v2(context, flags, device);
}

HCS_EXPORT CUresult cuCtxCreate_v4(CUcontext *context, void *parameters, unsigned flags,
                                   CUdevice device) {
    (void)parameters;
    return cuCtxCreate_v2(context, flags, device);
}

HCS_EXPORT CUresult cuCtxDestroy_v2(CUcontext context) {
    bool is_primary = context >= primary && context < primary + HCS_SIM_DEVICES_MAX;
    if (context == NULL || is_primary) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    hcs_sim_blocks_free_context(context);
    hcs_sim_work_end(context);
    current = current == context ? NULL : current;
    free(context);
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuCtxDestroy(CUcontext context) { return cuCtxDestroy_v2(context); }

HCS_EXPORT CUresult cuCtxSetCurrent(CUcontext context) {
    if (owner == 0 || owner != getpid()) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    current = context;
    return CUDA_SUCCESS;
}

HCS_EXPORT CUresult cuCtxPushCurrent_v2(CUcontext context) {
    if (context == NULL || pushed_count == CONTEXTS_PUSHED_MAX) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    CUcontext below = current;
    CUresult result = cuCtxSetCurrent(context);
    if (result == CUDA_SUCCESS) {
        pushed[pushed_count++] = below;
    }
    return result;
}

HCS_EXPORT CUresult cuCtxPopCurrent_v2(CUcontext *context) {
    CUresult result = check_current();
    if (result == CUDA_SUCCESS) {
        *context = current;
        current = pushed_count > 0 ? pushed[--pushed_count] : NULL;
    }
    return result;
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

CUcontext hcs_cuda_current(void) { return current; }

CUdevice hcs_cuda_device_of(CUcontext context) { return context->device; }

const struct hcs_sim_device *hcs_cuda_card_at(int location_type, int location_id) {
    enum { DEVICE = 1, PART_OF_DEVICE = 6 }; /* CUmemLocationType; the latter's id is two bytes */
    int device = location_type == PART_OF_DEVICE ? location_id & 0xff : location_id;
    bool on_a_card = location_type == DEVICE || location_type == PART_OF_DEVICE;
    return on_a_card ? hcs_cuda_card(device) : NULL;
}

CUresult hcs_cuda_check_current(void) { return check_current(); }

const struct hcs_sim_device *hcs_cuda_card(CUdevice device) {
    return check_device(device) == CUDA_SUCCESS ? visible.devices[device] : NULL;
}

const struct hcs_sim_device *hcs_cuda_current_card(void) {
    return current != NULL ? hcs_cuda_card(current->device) : NULL;
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
        {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},
        {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
        {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY"},
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
