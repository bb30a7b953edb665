/* CUDA: the driver layer, below every runtime, linked or static. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "account.h"
#include "config.h"
#include "hooks.h"

enum {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NOT_INITIALIZED = 3, /* our answer where there is no driver to ask */
};

#define GRANULARITY_BYTES 512  /* what cuMemAlloc really hands out is a multiple of this */
#define CUDA_DEVICES_MAX 64    /* ordinals we remember the place of; higher ones have no quota */
#define UUID_BYTES 16

/* 1 + position in HCS_DEVICES, by the process's ordinal; 0: not looked up yet. */
static unsigned char positions[CUDA_DEVICES_MAX];

/* "5ec0ffee-..." as NVML writes it, without the "GPU-" or "MIG-" in front. */
static void format_uuid(const unsigned char uuid[UUID_BYTES], char text[37]) {
    char *end = text;
    for (unsigned i = 0; i < UUID_BYTES; i++) {
        end += snprintf(end, 4, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", uuid[i]);
    }
}

/* CUDA_VISIBLE_DEVICES may hide and reorder cards inside the container, so an ordinal alone does
 * not name one: the UUID does. Without ids, or with one we were not told, the ordinal must do. */
static unsigned find_position(int device) {
    const struct hcs_config *config = hcs_config();
    int (*get_uuid)(unsigned char *, int) = hcs_real(HCS_CU_DEVICE_GET_UUID);
    unsigned char uuid[UUID_BYTES];
    char text[37];
    if (!config->devices_named || get_uuid == NULL || get_uuid(uuid, device) != CUDA_SUCCESS) {
        return (unsigned)device;
    }
    format_uuid(uuid, text);
    for (unsigned i = 0; i < config->device_count; i++) {
        const char *dash = strchr(config->device_ids[i], '-');
        if (dash != NULL && strcasecmp(dash + 1, text) == 0) {
            return i;
        }
    }
    return (unsigned)device;
}

static int position_of(int device) {
    if (device < 0 || device >= CUDA_DEVICES_MAX || !hcs_config()->enforced) {
        return -1;
    }
    unsigned char known = __atomic_load_n(&positions[device], __ATOMIC_RELAXED);
    if (known == 0) {
        known = (unsigned char)(1 + find_position(device));
        __atomic_store_n(&positions[device], known, __ATOMIC_RELAXED);
    }
    return known - 1;
}

/* The current context's card; -1: there is none, and the real call will say so. */
static int current_position(void) {
    int (*get_device)(int *) = hcs_real(HCS_CU_CTX_GET_DEVICE);
    int device;
    return get_device != NULL && get_device(&device) == CUDA_SUCCESS ? position_of(device) : -1;
}

static uint64_t rounded(size_t bytes) {
    bool huge = bytes > UINT64_MAX - GRANULARITY_BYTES;
    return huge ? UINT64_MAX : (bytes + GRANULARITY_BYTES - 1) & ~(uint64_t)(GRANULARITY_BYTES - 1);
}

int cuMemAlloc_v2(uint64_t *pointer, size_t bytes) {
    int (*real)(uint64_t *, size_t) = hcs_real(HCS_CU_MEM_ALLOC);
    if (real == NULL) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    if (bytes == 0 || !hcs_enter()) {
        return real(pointer, bytes);
    }
    struct hcs_charge charge = hcs_reserve(current_position(), rounded(bytes));
    int result = CUDA_ERROR_OUT_OF_MEMORY;
    if (charge.verdict != HCS_REFUSED) {
        result = real(pointer, bytes);
        hcs_settle(&charge, result == CUDA_SUCCESS ? *pointer : 0);
    }
    hcs_leave();
    return result;
}

int cuMemFree_v2(uint64_t pointer) {
    int (*real)(uint64_t) = hcs_real(HCS_CU_MEM_FREE);
    if (real == NULL) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    if (!hcs_enter()) {
        return real(pointer);
    }
    struct hcs_charge charge = hcs_take(pointer);
    int result = real(pointer);
    hcs_finish_free(&charge, pointer, result == CUDA_SUCCESS);
    hcs_leave();
    return result;
}

int cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes) {
    int (*real)(size_t *, size_t *) = hcs_real(HCS_CU_MEM_GET_INFO);
    int result = real != NULL ? real(free_bytes, total_bytes) : CUDA_ERROR_NOT_INITIALIZED;
    if (result == CUDA_SUCCESS && hcs_enter()) {
        hcs_show_quota(current_position(), free_bytes, total_bytes);
        hcs_leave();
    }
    return result;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    int (*real)(size_t *, int) = hcs_real(HCS_CU_DEVICE_TOTAL_MEM);
    int result = real != NULL ? real(bytes, device) : CUDA_ERROR_NOT_INITIALIZED;
    if (result == CUDA_SUCCESS && hcs_enter()) {
        hcs_show_quota(position_of(device), NULL, bytes);
        hcs_leave();
    }
    return result;
}

/* By plain name, as cuGetProcAddress wants it, and the version from which our form is meant. */
static void *hook_by_name(const char *symbol, int version) {
    static const struct { const char *name; int since; void *hook; } hooks[] = {
        {"cuMemAlloc", 3020, cuMemAlloc_v2},
        {"cuMemFree", 3020, cuMemFree_v2},
        {"cuMemGetInfo", 3020, cuMemGetInfo_v2},
        {"cuDeviceTotalMem", 3020, cuDeviceTotalMem_v2},
        {"cuGetProcAddress", 12000, cuGetProcAddress_v2},
        {"cuGetProcAddress", 11030, cuGetProcAddress},
    };
    for (size_t i = 0; i < sizeof hooks / sizeof *hooks; i++) {
        if (strcmp(hooks[i].name, symbol) == 0 && version >= hooks[i].since) {
            return hooks[i].hook;
        }
    }
    return NULL;
}

/* Exchange what the driver found; what it did not find stays unfound. */
static void exchange(int result, const char *symbol, void **function, int version) {
    if (result == CUDA_SUCCESS && symbol != NULL && function != NULL && *function != NULL) {
        void *hook = hook_by_name(symbol, version);
        *function = hook != NULL ? hook : *function;
    }
}

int cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags) {
    int (*real)(const char *, void **, int, uint64_t) = hcs_real(HCS_CU_GET_PROC_ADDRESS);
    int result = real != NULL ? real(symbol, function, version, flags) : CUDA_ERROR_NOT_INITIALIZED;
    exchange(result, symbol, function, version);
    return result;
}

int cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags,
                        int *status) {
    int (*real)(const char *, void **, int, uint64_t, int *) =
        hcs_real(HCS_CU_GET_PROC_ADDRESS_V2);
    int result =
        real != NULL ? real(symbol, function, version, flags, status) : CUDA_ERROR_NOT_INITIALIZED;
    exchange(result, symbol, function, version);
    return result;
}
