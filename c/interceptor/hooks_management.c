/* The other vendors' management libraries: what they show inside of a container is the quota, not
 * the card, as hooks_nvml.c does for NVIDIA.
 *
 * A card is known by its id, as our agent writes it into HCS_DEVICES: these libraries number the
 * node's cards or the container's, whatever the container's runtime left visible. Their number
 * counts only where we were told no ids. */
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "hooks.h"

#define ID_BYTES HCS_WIRE_DEVICE_ID_BYTES
#define BYTES_PER_MB (UINT64_C(1) << 20)

/* The position of a card; an empty id is that of a card which does not tell it. */
static int card_of(const char *id, int number) {
    return hcs_config()->devices_named ? hcs_cards_named(id, (unsigned)strlen(id)) : number;
}

/* What is used must not exceed what there is: where the quota is the smaller, it is the account's
 * sum and not the card's. */
static void show(int card, uint64_t *total_bytes, uint64_t *used_bytes) {
    uint64_t before = *total_bytes, free_bytes = *total_bytes;
    hcs_show_quota(card, &free_bytes, total_bytes);
    if (*total_bytes != before) {
        *used_bytes = *total_bytes - free_bytes;
    }
}

static uint64_t bytes_of(uint64_t megabytes) {
    return megabytes <= UINT64_MAX / BYTES_PER_MB ? megabytes * BYTES_PER_MB : 0;
}

/* Whole megabytes: less than one that is used still shows. */
static void show_megabytes(int card, uint64_t *total, uint64_t *used) {
    uint64_t total_bytes = bytes_of(*total), used_bytes = bytes_of(*used);
    show(card, &total_bytes, &used_bytes);
    if (total_bytes != bytes_of(*total)) {
        *total = total_bytes / BYTES_PER_MB;
        *used = hcs_round_up(used_bytes, BYTES_PER_MB) / BYTES_PER_MB;
        *used = *used < *total ? *used : *total;
    }
}

/* Hygon's rocm_smi: bytes, in two calls. */
static const struct hcs_library rocm_smi_library = {
    {"librocm_smi64.so.2", "librocm_smi64.so.7", "librocm_smi64.so.6", "librocm_smi64.so.5",
     "librocm_smi64.so"}};
#define LIBRARY rocm_smi_library
enum { RSMI_STATUS_INIT_ERROR = 8 };
#define NOT_THERE RSMI_STATUS_INIT_ERROR

enum { RSMI_MEM_TYPE_VIS_VRAM = 1 }; /* that and less is the card's, more is the host's */

HCS_CALLED(rsmi_dev_unique_id_get);

static int rocm_card(uint32_t index) {
    int (*get_id)(uint32_t, uint64_t *) = hcs_real(&find_rsmi_dev_unique_id_get);
    char id[ID_BYTES] = "";
    uint64_t number;
    if (get_id != NULL && get_id(index, &number) == 0 && number != 0) {
        snprintf(id, sizeof id, "%016llx", (unsigned long long)number);
    }
    return card_of(id, (int)index);
}

static void show_rocm_total(uint32_t index, int type, uint64_t *total_bytes) {
    if (type <= RSMI_MEM_TYPE_VIS_VRAM) {
        hcs_show_quota(rocm_card(index), NULL, total_bytes);
    }
}

HCS_AFTER(rsmi_dev_memory_total_get, (uint32_t index, int type, uint64_t *bytes),
          (index, type, bytes), show_rocm_total(index, type, bytes));

static void show_rocm_used(uint32_t index, int type, uint64_t *used_bytes) {
    int (*get_total)(uint32_t, int, uint64_t *) = hcs_real(&find_rsmi_dev_memory_total_get);
    uint64_t total_bytes;
    if (type <= RSMI_MEM_TYPE_VIS_VRAM && get_total != NULL &&
        get_total(index, type, &total_bytes) == 0) {
        show(rocm_card(index), &total_bytes, used_bytes);
    }
}

HCS_AFTER(rsmi_dev_memory_usage_get, (uint32_t index, int type, uint64_t *bytes),
          (index, type, bytes), show_rocm_used(index, type, bytes));

/* Cambricon's CNDev: megabytes. */
#undef LIBRARY
#undef NOT_THERE
static const struct hcs_library cndev_library = {{"libcndev.so"}};
#define LIBRARY cndev_library
enum { CNDEV_ERROR_UNINITIALIZED = 4 };
#define NOT_THERE CNDEV_ERROR_UNINITIALIZED

#define CNDEV_UUID_BYTES 37

struct cndev_uuid { /* cndevUUID_t */
    int32_t version;
    uint8_t uuid[CNDEV_UUID_BYTES];
    uint64_t ncs_uuid;
};

HCS_CALLED(cndevGetUUID);

static int cndev_card(int32_t device, int32_t version) {
    int (*get_uuid)(struct cndev_uuid *, int32_t) = hcs_real(&find_cndevGetUUID);
    struct cndev_uuid uuid = {.version = version};
    char id[ID_BYTES] = "";
    if (get_uuid != NULL && get_uuid(&uuid, device) == 0) {
        snprintf(id, sizeof id, "MLU-%.*s", CNDEV_UUID_BYTES, (const char *)uuid.uuid);
    }
    return card_of(id, device);
}

static void show_cndev(int32_t device, int32_t version, uint64_t *total, uint64_t *used) {
    show_megabytes(cndev_card(device, version), total, used);
}

enum { CNDEV_VERSION_5 = 5, CNDEV_VERSION_6 = 6 };

struct cndev_memory_v2 { /* the beginning of cndevMemoryInfoV2_t */
    uint64_t total, used, reserved, virtual_total, virtual_used;
};
HCS_AFTER(cndevGetMemoryUsageV2, (struct cndev_memory_v2 *memory, int32_t device),
          (memory, device), show_cndev(device, CNDEV_VERSION_6, &memory->total, &memory->used));

struct cndev_memory { /* the beginning of cndevMemoryInfo_t, before version 6 */
    int32_t version;
    uint64_t total, used, virtual_total, virtual_used;
};
HCS_AFTER(cndevGetMemoryUsage, (struct cndev_memory *memory, int32_t device), (memory, device),
          show_cndev(device, CNDEV_VERSION_5, &memory->total, &memory->used));

/* Moore Threads' MTML: bytes, in two calls, by a handle that belongs to a card. */
#undef LIBRARY
#undef NOT_THERE
static const struct hcs_library mtml_library = {{"libmtml.so.2", "libmtml.so.1", "libmtml.so"}};
#define LIBRARY mtml_library
enum { MTML_ERROR_UNINITIALIZED = 666 };
#define NOT_THERE MTML_ERROR_UNINITIALIZED

#define MTML_UUID_BYTES 48

HCS_CALLED(mtmlDeviceGetUUID);
HCS_CALLED(mtmlDeviceGetIndex);

static int mtml_card(void *device) {
    int (*get_uuid)(void *, char *, unsigned) = hcs_real(&find_mtmlDeviceGetUUID);
    int (*get_index)(void *, unsigned *) = hcs_real(&find_mtmlDeviceGetIndex);
    char id[MTML_UUID_BYTES] = "";
    unsigned index;
    if (get_uuid == NULL || get_uuid(device, id, sizeof id) != 0) {
        *id = '\0';
    }
    bool numbered = get_index != NULL && get_index(device, &index) == 0;
    return card_of(id, numbered ? (int)index : -1);
}

/* Handle and position in one word each: no lock that a fork could find taken. */
#define MTML_POSITION_BITS 8
static uint64_t mtml_memories[HCS_CARDS_MAX]; /* 0: free */

static void remember_memory(void *device, void *memory) {
    int card = mtml_card(device);
    uint64_t word = HCS_KEY(memory) << MTML_POSITION_BITS | (uint64_t)card;
    for (unsigned i = 0; card >= 0 && i < HCS_CARDS_MAX; i++) {
        uint64_t known = __atomic_load_n(&mtml_memories[i], __ATOMIC_RELAXED);
        if (known == word || (known == 0 && __atomic_compare_exchange_n(
                                                &mtml_memories[i], &known, word, false,
                                                __ATOMIC_RELAXED, __ATOMIC_RELAXED))) {
            return;
        }
    }
}

/* The word of a memory's handle, or NULL. */
static uint64_t *memory_word(void *memory) {
    for (unsigned i = 0; i < HCS_CARDS_MAX; i++) {
        uint64_t word = __atomic_load_n(&mtml_memories[i], __ATOMIC_RELAXED);
        if (word != 0 && word >> MTML_POSITION_BITS == HCS_KEY(memory)) {
            return &mtml_memories[i];
        }
    }
    return NULL;
}

static int memory_card(void *memory) {
    const uint64_t *word = memory_word(memory);
    uint64_t known = word != NULL ? __atomic_load_n(word, __ATOMIC_RELAXED) : 0;
    bool same = known != 0 && known >> MTML_POSITION_BITS == HCS_KEY(memory);
    return same ? (int)(known & ((1u << MTML_POSITION_BITS) - 1)) : -1;
}

static void forget_memory(void *memory) {
    uint64_t *word = memory_word(memory);
    if (word != NULL) {
        __atomic_store_n(word, 0, __ATOMIC_RELAXED);
    }
}

HCS_AFTER(mtmlDeviceInitMemory, (void *device, void **memory), (device, memory),
          remember_memory(device, *memory));
HCS_AROUND(mtmlDeviceFreeMemory, (void *memory), (memory), forget_memory(memory), (void)0);
HCS_AFTER(mtmlMemoryGetTotal, (void *memory, uint64_t *bytes), (memory, bytes),
          hcs_show_quota(memory_card(memory), NULL, bytes));

static void show_mtml_used(void *memory, uint64_t *used_bytes) {
    int (*get_total)(void *, uint64_t *) = hcs_real(&find_mtmlMemoryGetTotal);
    uint64_t total_bytes;
    if (get_total != NULL && get_total(memory, &total_bytes) == 0) {
        show(memory_card(memory), &total_bytes, used_bytes);
    }
}

HCS_AFTER(mtmlMemoryGetUsed, (void *memory, uint64_t *bytes), (memory, bytes),
          show_mtml_used(memory, bytes));

/* Huawei's DCMI: megabytes, of HBM or, on chips without it, of DDR. */
#undef LIBRARY
#undef NOT_THERE
static const struct hcs_library dcmi_library = {{"libdcmi.so"}};
#define LIBRARY dcmi_library
enum { DCMI_ERR_CODE_NOT_READY = -8012 };
#define NOT_THERE DCMI_ERR_CODE_NOT_READY

enum { VDIE = 1 };
struct dcmi_die { /* dcmi_die_id */
    uint32_t words[5];
};
struct dcmi_label { /* dcmi_elabel_info */
    char product_name[256], model[256], manufacturer[256], manufacturer_date[256];
    char serial_number[256];
};

HCS_CALLED(dcmi_get_device_die_v2);
HCS_CALLED(dcmi_get_device_elabel_info);
HCS_CALLED(dcmi_get_device_num_in_card);
HCS_CALLED(dcmi_get_device_logic_id);

/* False: the chip has none. */
static bool put_die(const struct dcmi_die *die, char id[ID_BYTES]) {
    const uint32_t *word = die->words;
    snprintf(id, ID_BYTES, "%08X-%08X-%08X-%08X-%08X", word[0], word[1], word[2], word[3],
             word[4]);
    return (word[0] | word[1] | word[2] | word[3] | word[4]) != 0;
}

/* As the agent makes it: the die, else the board's serial number, with the chip's where it has
 * several. */
static void dcmi_id(int card, int chip, char id[ID_BYTES]) {
    int (*get_die)(int, int, int, struct dcmi_die *) = hcs_real(&find_dcmi_get_device_die_v2);
    int (*get_label)(int, int, struct dcmi_label *) = hcs_real(&find_dcmi_get_device_elabel_info);
    int (*count_chips)(int, int *) = hcs_real(&find_dcmi_get_device_num_in_card);
    struct dcmi_die die;
    struct dcmi_label label;
    int chips = 1;
    if (get_die != NULL && get_die(card, chip, VDIE, &die) == 0 && put_die(&die, id)) {
        return;
    }
    if (get_label == NULL || get_label(card, chip, &label) != 0 || *label.serial_number == '\0') {
        *id = '\0';
        return;
    }
    if (count_chips != NULL && count_chips(card, &chips) == 0 && chips > 1) {
        snprintf(id, ID_BYTES, "%.80s-%d", label.serial_number, chip);
    } else {
        snprintf(id, ID_BYTES, "%.80s", label.serial_number);
    }
}

static int dcmi_card(int card, int chip) {
    int (*get_number)(int *, int, int) = hcs_real(&find_dcmi_get_device_logic_id);
    char id[ID_BYTES];
    int number;
    dcmi_id(card, chip, id);
    bool numbered = get_number != NULL && get_number(&number, card, chip) == 0;
    return card_of(id, numbered ? number : -1);
}

struct dcmi_hbm { /* dcmi_hbm_info */
    uint64_t total;
    uint32_t frequency;
    uint64_t used;
    int32_t temperature;
    uint32_t bandwidth_percent;
};
static void show_hbm(int card, int chip, struct dcmi_hbm *hbm) {
    show_megabytes(dcmi_card(card, chip), &hbm->total, &hbm->used);
}

HCS_AFTER(dcmi_get_device_hbm_info, (int card, int chip, struct dcmi_hbm *hbm), (card, chip, hbm),
          show_hbm(card, chip, hbm));
HCS_AFTER(dcmi_get_hbm_info, (int card, int chip, struct dcmi_hbm *hbm), (card, chip, hbm),
          show_hbm(card, chip, hbm));

/* Beside HBM, DDR is none of ours. */
static bool has_hbm(int card, int chip) {
    int (*get_hbm)(int, int, struct dcmi_hbm *) = hcs_real(&find_dcmi_get_device_hbm_info);
    struct dcmi_hbm hbm;
    return get_hbm != NULL && get_hbm(card, chip, &hbm) == 0 && hbm.total > 0;
}

struct dcmi_ddr { /* the beginning of dcmi_get_memory_info_stru */
    uint64_t total, available;
};

static void show_ddr(int card, int chip, struct dcmi_ddr *ddr) {
    uint64_t before = ddr->total;
    uint64_t used = ddr->available < ddr->total ? ddr->total - ddr->available : 0;
    if (!has_hbm(card, chip)) {
        show_megabytes(dcmi_card(card, chip), &ddr->total, &used);
    }
    if (ddr->total != before) {
        ddr->available = ddr->total - used;
    }
}

HCS_AFTER(dcmi_get_device_memory_info_v3, (int card, int chip, struct dcmi_ddr *ddr),
          (card, chip, ddr), show_ddr(card, chip, ddr));

struct dcmi_memory { /* dcmi_memory_info */
    uint64_t total;
    uint32_t frequency, used_percent;
};

static void show_memory(int card, int chip, struct dcmi_memory *memory) {
    uint64_t before = memory->total, used = 0;
    if (!has_hbm(card, chip)) {
        show_megabytes(dcmi_card(card, chip), &memory->total, &used);
    }
    if (memory->total != before) {
        memory->used_percent = memory->total > 0 ? (uint32_t)(used * 100 / memory->total) : 0;
    }
}

HCS_AFTER(dcmi_get_device_memory_info_v2, (int card, int chip, struct dcmi_memory *memory),
          (card, chip, memory), show_memory(card, chip, memory));
HCS_AFTER(dcmi_get_memory_info, (int card, int chip, struct dcmi_memory *memory),
          (card, chip, memory), show_memory(card, chip, memory));

/* The chips of the 950 answer to other names, and have one number each. */
HCS_CALLED(dcmiv2_get_device_die_id);
HCS_CALLED(dcmiv2_get_device_elabel_info);

static int dcmiv2_card(int chip) {
    int (*get_die)(int, int, struct dcmi_die *) = hcs_real(&find_dcmiv2_get_device_die_id);
    int (*get_label)(int, struct dcmi_label *) = hcs_real(&find_dcmiv2_get_device_elabel_info);
    struct dcmi_die die;
    struct dcmi_label label;
    char id[ID_BYTES];
    if (get_die == NULL || get_die(chip, VDIE, &die) != 0 || !put_die(&die, id)) {
        bool labelled = get_label != NULL && get_label(chip, &label) == 0;
        snprintf(id, sizeof id, "%.80s", labelled ? label.serial_number : "");
    }
    return card_of(id, chip);
}

HCS_AFTER(dcmiv2_get_device_hbm_info, (int chip, struct dcmi_hbm *hbm), (chip, hbm),
          show_megabytes(dcmiv2_card(chip), &hbm->total, &hbm->used));
