/* The simulated libascendcl.so; names and numbers from CANN's acl_rt.h and rt_error_codes.h. */
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "blocks.h"
#include "visible.h"

#define HCS_EXPORT __attribute__((visibility("default")))
#define ALIGNMENT_BYTES 32 /* aclrtMalloc adds this much and rounds up to a multiple of it */

typedef int aclError;
typedef int aclrtMemMallocPolicy;
typedef int aclrtMemAttr;

enum {
    ACL_SUCCESS = 0,
    ACL_ERROR_REPEAT_INITIALIZE = 100002,
    ACL_ERROR_REPEAT_FINALIZE = 100037,
    ACL_ERROR_RT_PARAM_INVALID = 107000,
    ACL_ERROR_RT_INVALID_DEVICEID = 107001,
    ACL_ERROR_RT_CONTEXT_NULL = 107002,
    ACL_ERROR_RT_FEATURE_NOT_SUPPORT = 207000,
    ACL_ERROR_RT_MEMORY_ALLOCATION = 207001,
};
enum {
    ACL_HBM_MEM = 1,
    ACL_HBM_MEM_HUGE = 4,
    ACL_HBM_MEM_NORMAL = 5,
};

aclError aclInit(const char *config_path);
aclError aclFinalize(void);
aclError aclrtGetDeviceCount(uint32_t *count);
aclError aclrtSetDevice(int32_t device);
aclError aclrtGetDevice(int32_t *device);
aclError aclrtResetDevice(int32_t device);
aclError aclrtSynchronizeDevice(void);
aclError aclrtMalloc(void **pointer, size_t bytes, aclrtMemMallocPolicy policy);
aclError aclrtFree(void *pointer);
aclError aclrtGetMemInfo(aclrtMemAttr attribute, size_t *free_bytes, size_t *total_bytes);

static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static struct hcs_sim_visible visible;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool initialised;
static __thread const struct hcs_sim_device *current;
static __thread int32_t current_id = -1;

static void load(void) {
    /* The snapshot is never released: `visible` points into it as long as the process lives. */
    const struct hcs_sim_scenario *scenario = hcs_sim_scenario_acquire();
    if (scenario != NULL) {
        hcs_sim_visible(scenario, HCS_SIM_HUAWEI, getenv("ASCEND_VISIBLE_DEVICES"),
                        getenv("ASCEND_RT_VISIBLE_DEVICES"), &visible);
    }
}

static aclError set_initialised(bool value, aclError repeated) {
    pthread_mutex_lock(&mutex);
    aclError result = initialised == value ? repeated : ACL_SUCCESS;
    initialised = value;
    pthread_mutex_unlock(&mutex);
    return result;
}

HCS_EXPORT aclError aclInit(const char *config_path) {
    (void)config_path; /* only dumps and profiling are configured there */
    return set_initialised(true, ACL_ERROR_REPEAT_INITIALIZE);
}

HCS_EXPORT aclError aclFinalize(void) {
    return set_initialised(false, ACL_ERROR_REPEAT_FINALIZE);
}

HCS_EXPORT aclError aclrtGetDeviceCount(uint32_t *count) {
    pthread_once(&load_once, load);
    if (count == NULL) {
        return ACL_ERROR_RT_PARAM_INVALID;
    }
    *count = visible.count;
    return ACL_SUCCESS;
}

HCS_EXPORT aclError aclrtSetDevice(int32_t device) {
    pthread_once(&load_once, load);
    if (device < 0 || (uint32_t)device >= visible.count) {
        return ACL_ERROR_RT_INVALID_DEVICEID;
    }
    current = visible.devices[device];
    current_id = device;
    return ACL_SUCCESS;
}

HCS_EXPORT aclError aclrtGetDevice(int32_t *device) {
    if (device == NULL) {
        return ACL_ERROR_RT_PARAM_INVALID;
    }
    if (current == NULL) {
        return ACL_ERROR_RT_CONTEXT_NULL;
    }
    *device = current_id;
    return ACL_SUCCESS;
}

HCS_EXPORT aclError aclrtResetDevice(int32_t device) {
    if (current == NULL || device != current_id) {
        return ACL_ERROR_RT_INVALID_DEVICEID;
    }
    current = NULL;
    return ACL_SUCCESS;
}

HCS_EXPORT aclError aclrtSynchronizeDevice(void) {
    return current != NULL ? ACL_SUCCESS : ACL_ERROR_RT_CONTEXT_NULL;
}

HCS_EXPORT aclError aclrtMalloc(void **pointer, size_t bytes, aclrtMemMallocPolicy policy) {
    (void)policy; /* huge or normal pages: sizes are kept to the byte either way */
    if (pointer == NULL || bytes == 0) {
        return ACL_ERROR_RT_PARAM_INVALID;
    }
    if (current == NULL) {
        return ACL_ERROR_RT_CONTEXT_NULL;
    }
    if (bytes > SIZE_MAX - 2 * ALIGNMENT_BYTES) {
        return ACL_ERROR_RT_MEMORY_ALLOCATION;
    }
    uint64_t padded = (bytes + 2 * ALIGNMENT_BYTES - 1) / ALIGNMENT_BYTES * ALIGNMENT_BYTES;
    uint64_t address = hcs_sim_block_allocate(current, padded, current);
    if (address == 0) {
        return ACL_ERROR_RT_MEMORY_ALLOCATION;
    }
    *pointer = (void *)(uintptr_t)address;
    return ACL_SUCCESS;
}

HCS_EXPORT aclError aclrtFree(void *pointer) {
    bool freed = pointer != NULL && hcs_sim_block_free((uint64_t)(uintptr_t)pointer);
    return freed ? ACL_SUCCESS : ACL_ERROR_RT_PARAM_INVALID;
}

HCS_EXPORT aclError aclrtGetMemInfo(aclrtMemAttr attribute, size_t *free_bytes,
                                    size_t *total_bytes) {
    if (free_bytes == NULL || total_bytes == NULL) {
        return ACL_ERROR_RT_PARAM_INVALID;
    }
    if (current == NULL) {
        return ACL_ERROR_RT_CONTEXT_NULL;
    }
    if (attribute != ACL_HBM_MEM && attribute != ACL_HBM_MEM_HUGE &&
        attribute != ACL_HBM_MEM_NORMAL) {
        return ACL_ERROR_RT_FEATURE_NOT_SUPPORT; /* the 910B has no DDR of its own */
    }
    *free_bytes = hcs_sim_memory_free(current);
    *total_bytes = current->vram_bytes;
    return ACL_SUCCESS;
}
