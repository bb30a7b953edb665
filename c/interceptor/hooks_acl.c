/* Ascend: the aclrt layer of libascendcl.so. */
#include <stdlib.h>
#include <string.h>

#include "account.h"
#include "config.h"
#include "hooks.h"

enum {
    ACL_SUCCESS = 0,
    ACL_ERROR_UNINITIALIZE = 100001, /* our answer where there is no runtime to ask */
    ACL_ERROR_RT_MEMORY_ALLOCATION = 207001,
};

#define ALIGNMENT_BYTES 32 /* aclrtMalloc adds this much and rounds up to a multiple of it */

/* ASCEND_RT_VISIBLE_DEVICES, fixed as long as the runtime's own reading of it. */
static const char *visible_devices;

__attribute__((constructor)) static void load(void) {
    visible_devices = getenv("ASCEND_RT_VISIBLE_DEVICES");
}

/* The process's id -> the container's: the entry of that place in ASCEND_RT_VISIBLE_DEVICES.
 * Without that variable they are the same. (Cards have ids of their own here, but the runtime
 * tells them only in its newest versions.) */
static int position_of(int device) {
    if (visible_devices == NULL || *visible_devices == '\0') {
        return device;
    }
    const char *entry = visible_devices;
    for (; device > 0 && entry != NULL; device--) {
        entry = strchr(entry, ',');
        entry = entry != NULL ? entry + 1 : NULL;
    }
    char *end = NULL;
    long position = entry != NULL ? strtol(entry, &end, 10) : -1;
    return end != entry && position >= 0 && position < HCS_WIRE_DEVICES_MAX ? (int)position : -1;
}

static int current_position(void) {
    int (*get_device)(int32_t *) = hcs_real(HCS_ACLRT_GET_DEVICE);
    int32_t device;
    return get_device != NULL && get_device(&device) == ACL_SUCCESS ? position_of(device) : -1;
}

static uint64_t padded(size_t bytes) {
    bool huge = bytes > UINT64_MAX - 2 * ALIGNMENT_BYTES;
    return huge ? UINT64_MAX
                : (bytes + 2 * ALIGNMENT_BYTES - 1) & ~(uint64_t)(ALIGNMENT_BYTES - 1);
}

int aclrtMalloc(void **pointer, size_t bytes, int policy) {
    int (*real)(void **, size_t, int) = hcs_real(HCS_ACLRT_MALLOC);
    if (real == NULL) {
        return ACL_ERROR_UNINITIALIZE;
    }
    if (bytes == 0 || !hcs_enter()) {
        return real(pointer, bytes, policy);
    }
    struct hcs_charge charge = hcs_reserve(current_position(), padded(bytes));
    int result = ACL_ERROR_RT_MEMORY_ALLOCATION;
    if (charge.verdict != HCS_REFUSED) {
        result = real(pointer, bytes, policy);
        hcs_settle(&charge, result == ACL_SUCCESS ? (uint64_t)(uintptr_t)*pointer : 0);
    }
    hcs_leave();
    return result;
}

int aclrtFree(void *pointer) {
    int (*real)(void *) = hcs_real(HCS_ACLRT_FREE);
    if (real == NULL) {
        return ACL_ERROR_UNINITIALIZE;
    }
    if (!hcs_enter()) {
        return real(pointer);
    }
    struct hcs_charge charge = hcs_take((uint64_t)(uintptr_t)pointer);
    int result = real(pointer);
    hcs_finish_free(&charge, (uint64_t)(uintptr_t)pointer, result == ACL_SUCCESS);
    hcs_leave();
    return result;
}

int aclrtGetMemInfo(int attribute, size_t *free_bytes, size_t *total_bytes) {
    int (*real)(int, size_t *, size_t *) = hcs_real(HCS_ACLRT_GET_MEM_INFO);
    int result = real != NULL ? real(attribute, free_bytes, total_bytes) : ACL_ERROR_UNINITIALIZE;
    if (result == ACL_SUCCESS && hcs_enter()) {
        hcs_show_quota(current_position(), free_bytes, total_bytes);
        hcs_leave();
    }
    return result;
}
