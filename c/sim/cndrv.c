/* The simulated libcndrv.so: cards of the scenario, one shared context for each, and memory by
 * size only. */
#include "cndrv.h"

#include <stddef.h>
#include <string.h>

#include "blocks.h"
#include "card_work.h"
#include "pools.h"
#include "runtime_cards.h"

struct CNctx_st {
    int device;
};
static struct CNctx_st contexts[HCS_SIM_DEVICES_MAX];
static bool initialised;

HCS_EXPORT CNresult cnInit(unsigned flags) {
    hcs_sim_cards_load(HCS_SIM_CAMBRICON, "CAMBRICON_VISIBLE_DEVICES", "MLU_VISIBLE_DEVICES");
    for (int device = 0; device < HCS_SIM_DEVICES_MAX; device++) {
        contexts[device].device = device;
    }
    initialised = true;
    return flags == 0 ? CN_SUCCESS : CN_ERROR_INVALID_VALUE;
}

HCS_EXPORT CNresult cnDeviceGetCount(int *count) {
    *count = (int)hcs_sim_cards_count();
    return initialised ? CN_SUCCESS : CN_ERROR_NOT_INITIALIZED;
}

static CNresult check_device(CNdev device) {
    if (!initialised) {
        return CN_ERROR_NOT_INITIALIZED;
    }
    bool known = device < HCS_SIM_DEVICES_MAX && hcs_sim_card((int)device) != NULL;
    return known ? CN_SUCCESS : CN_ERROR_INVALID_DEVICE;
}

HCS_EXPORT CNresult cnDeviceGet(CNdev *device, int ordinal) {
    *device = (CNdev)ordinal;
    return check_device(*device);
}

HCS_EXPORT CNresult cnDeviceTotalMem(uint64_t *bytes, CNdev device) {
    CNresult result = check_device(device);
    if (result == CN_SUCCESS) {
        *bytes = hcs_sim_card((int)device)->vram_bytes;
    }
    return result;
}

HCS_EXPORT CNresult cnSharedContextAcquire(CNcontext *context, CNdev device) {
    CNresult result = check_device(device);
    const struct hcs_sim_device *card = hcs_sim_card((int)device);
    if (result == CN_SUCCESS && !hcs_sim_context_begin(card, card)) {
        result = CN_MEMORY_ERROR_OUT_OF_MEMORY;
    }
    if (result == CN_SUCCESS) {
        *context = &contexts[device];
    }
    return result;
}

HCS_EXPORT CNresult cnSharedContextReset(CNdev device) {
    CNresult result = check_device(device);
    if (result == CN_SUCCESS) {
        hcs_sim_blocks_free_context(hcs_sim_card((int)device));
        hcs_sim_pools_reset(hcs_sim_card((int)device));
        hcs_sim_work_end(hcs_sim_card((int)device));
    }
    return result;
}

HCS_EXPORT CNresult cnCtxSetCurrent(CNcontext context) {
    hcs_sim_card_choose(context != NULL ? context->device : -1);
    return initialised ? CN_SUCCESS : CN_ERROR_NOT_INITIALIZED;
}

HCS_EXPORT CNresult cnCtxGetCurrent(CNcontext *context) {
    int number = hcs_sim_card_number();
    *context = number >= 0 ? &contexts[number] : NULL;
    return initialised ? CN_SUCCESS : CN_ERROR_NOT_INITIALIZED;
}

/* One of those that are always there is the current context's. */
HCS_EXPORT CNresult cnQueueGetContext(CNqueue queue, CNcontext *context) {
    const void *owner = hcs_sim_card_chosen();
    if (queue > CN_QUEUE_TYPE_LEGACY && !hcs_sim_stream_owner(queue, &owner)) {
        return CN_QUEUE_ERROR_INVALID;
    }
    *context = owner != NULL ? &contexts[hcs_sim_card_number_of(owner)] : NULL;
    return owner != NULL ? CN_SUCCESS : CN_ERROR_NOT_INITIALIZED;
}

HCS_EXPORT CNresult cnCtxGetDevice(CNdev *device) {
    int number = hcs_sim_card_number();
    *device = number >= 0 ? (CNdev)number : 0;
    return number >= 0 ? CN_SUCCESS : CN_ERROR_NOT_INITIALIZED;
}

HCS_EXPORT CNresult cnMalloc(CNaddr *address, uint64_t bytes) {
    const struct hcs_sim_device *card = hcs_sim_card_chosen();
    if (card == NULL) {
        return CN_ERROR_NOT_INITIALIZED;
    }
    if (address == NULL || bytes == 0) {
        return CN_ERROR_INVALID_VALUE;
    }
    uint64_t allocated = hcs_sim_block_allocate(card, bytes, card);
    if (allocated == 0) {
        return CN_MEMORY_ERROR_OUT_OF_MEMORY;
    }
    *address = allocated;
    return CN_SUCCESS;
}

HCS_EXPORT CNresult cnZmalloc(CNaddr *address, uint64_t bytes) { return cnMalloc(address, bytes); }

HCS_EXPORT CNresult cnMallocConstant(CNaddr *address, uint64_t bytes) {
    return cnMalloc(address, bytes);
}

HCS_EXPORT CNresult cnMallocPeerAble(CNaddr *address, uint64_t bytes) {
    return cnMalloc(address, bytes);
}

HCS_EXPORT CNresult cnMallocNode(CNaddr *address, uint64_t bytes, int node) {
    (void)node;
    return cnMalloc(address, bytes);
}

HCS_EXPORT CNresult cnFree(CNaddr address) {
    return hcs_sim_block_free(address) ? CN_SUCCESS : CN_ERROR_INVALID_VALUE;
}

HCS_EXPORT CNresult cnMemGetInfo(uint64_t *free_bytes, uint64_t *total_bytes) {
    const struct hcs_sim_device *card = hcs_sim_card_chosen();
    if (card == NULL) {
        return CN_ERROR_NOT_INITIALIZED;
    }
    *free_bytes = hcs_sim_memory_free(card);
    *total_bytes = card->vram_bytes;
    return CN_SUCCESS;
}

HCS_EXPORT CNresult cnGetExportFunction(const char *name, const void **function) {
    static const struct { const char *name; const void *function; } entries[] = {
        {"cnMalloc", cnMalloc},
        {"cnFree", cnFree},
        {"cnMemGetInfo", cnMemGetInfo},
        {"cnInvokeKernel", cnInvokeKernel},
    };
    *function = NULL;
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        if (strcmp(entries[i].name, name) == 0) {
            *function = entries[i].function;
        }
    }
    return *function != NULL ? CN_SUCCESS : CN_ERROR_NOT_FOUND;
}
