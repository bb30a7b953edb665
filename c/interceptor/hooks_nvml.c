/* NVML: what monitoring inside of the container shows is the quota, not the card. */
#include <string.h>

#include "config.h"
#include "hooks.h"

enum { NVML_ERROR_UNINITIALIZED = 1 };
static const struct hcs_library nvml_library = {{"libnvidia-ml.so.1"}};
#define LIBRARY nvml_library
#define NOT_THERE NVML_ERROR_UNINITIALIZED

#define UUID_TEXT_BYTES 96

HCS_CALLED(nvmlDeviceGetUUID);
HCS_CALLED(nvmlDeviceGetIndex);

/* By its id: a card that is not among ours shows itself. Where we were told no ids, NVML counts the
 * container's cards as the webhook does. */
static int card_of(void *device) {
    int (*get_uuid)(void *, char *, unsigned) = hcs_real(&find_nvmlDeviceGetUUID);
    int (*get_index)(void *, unsigned *) = hcs_real(&find_nvmlDeviceGetIndex);
    char uuid[UUID_TEXT_BYTES];
    unsigned index;
    if (hcs_config()->devices_named) {
        bool known = get_uuid != NULL && get_uuid(device, uuid, sizeof uuid) == 0;
        return known ? hcs_cards_named(uuid, (unsigned)strlen(uuid)) : -1;
    }
    return get_index != NULL && get_index(device, &index) == 0 ? (int)index : -1;
}

struct memory { /* nvmlMemory_t */
    uint64_t total, free, used;
};
struct memory_v2 { /* nvmlMemory_v2_t */
    uint32_t version;
    uint64_t total, reserved, free, used;
};

/* What is used is what is not free: the three must add up, as the card's own do. */
static void show(void *device, uint64_t *total, uint64_t *free_bytes, uint64_t *used) {
    uint64_t before = *total;
    hcs_show_quota(card_of(device), free_bytes, total);
    if (*total != before) {
        *used = *total - *free_bytes;
    }
}

HCS_AFTER(nvmlDeviceGetMemoryInfo, (void *device, struct memory *memory), (device, memory),
          show(device, &memory->total, &memory->free, &memory->used));
/* The memory that the driver reserves lies outside of the quota. */
HCS_AFTER(nvmlDeviceGetMemoryInfo_v2, (void *device, struct memory_v2 *memory), (device, memory),
          show(device, &memory->total, &memory->free, &memory->used));
