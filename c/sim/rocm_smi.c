/* Simulated librocm_smi64.so.2 of a Hygon node: lifetime, enumeration, identity, links, RAS.
 *
 * The real library reads sysfs, and answers with the errno of a failed read. A card that has fallen
 * off the bus keeps its index, and reading its files ends in ENODEV, for which rocm_smi has no name
 * of its own: UNKNOWN_ERROR. A card's RAS counters start again from zero when it is reset: here,
 * when the scenario's fault is cleared.
 */
#include "rocm_smi.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCI_VENDOR 0x1D94U
#define CODE_SUFFIX "_UE"

/* The blocks' names, in the order of their bits from RSMI_GPU_BLOCK_UMC on. */
static const char *const BLOCKS[] = {"UMC", "SDMA", "GFX", "MMHUB", "ATHUB", "PCIE_BIF", "HDP",
                                     "XGMI_WAFL", "DF", "SMN", "SEM", "MP0", "MP1", "FUSE",
                                     "MCA", "VCN", "JPEG", "IH", "MPIO"};
#define BLOCK_COUNT (sizeof BLOCKS / sizeof *BLOCKS)
_Static_assert(RSMI_GPU_BLOCK_UMC << (BLOCK_COUNT - 1) == RSMI_GPU_BLOCK_MPIO, "one name per bit");

/* Device ids of the models, as in the driver's own table; others have none. */
static const struct {
    const char *model;
    uint16_t id;
} MODELS[] = {{"Z100L", 0x55B7}, {"K100", 0x62B7}, {"K100_AI", 0x6210}, {"BW200", 0x6310}};

static atomic_uint init_count;

/* --- Lifetime -------------------------------------------------------------------------------- */

/* Acquire a snapshot in which the driver is loaded, or NULL. */
static const struct hcs_sim_scenario *acquire_loaded(void) {
    const struct hcs_sim_scenario *scenario = hcs_sim_scenario_acquire();
    if (!scenario || !scenario->driver_down[HCS_SIM_HYGON])
        return scenario;
    hcs_sim_scenario_release(scenario);
    return NULL;
}

EXPORT rsmi_status_t rsmi_init(uint64_t flags);
EXPORT rsmi_status_t rsmi_init(uint64_t flags) {
    (void)flags; /* RSMI_INIT_FLAG_ALL_GPUS would add other vendors' cards */
    const struct hcs_sim_scenario *scenario = acquire_loaded();
    if (!scenario)
        return RSMI_STATUS_INIT_ERROR;
    hcs_sim_scenario_release(scenario);
    init_count++;
    return RSMI_STATUS_SUCCESS;
}

EXPORT rsmi_status_t rsmi_shut_down(void);
EXPORT rsmi_status_t rsmi_shut_down(void) {
    unsigned count = init_count;
    do {
        if (count == 0)
            return RSMI_STATUS_INIT_ERROR;
    } while (!atomic_compare_exchange_weak(&init_count, &count, count - 1));
    return RSMI_STATUS_SUCCESS;
}

EXPORT rsmi_status_t rsmi_status_string(rsmi_status_t status, const char **text);
EXPORT rsmi_status_t rsmi_status_string(rsmi_status_t status, const char **text) {
    if (!text)
        return RSMI_STATUS_INVALID_ARGS;
    switch (status) {
    case RSMI_STATUS_SUCCESS: *text = "The function has been executed successfully."; break;
    case RSMI_STATUS_INVALID_ARGS: *text = "An argument is not valid."; break;
    case RSMI_STATUS_NOT_SUPPORTED: *text = "This function is not supported here."; break;
    case RSMI_STATUS_INIT_ERROR: *text = "The library is not initialised."; break;
    case RSMI_STATUS_NOT_FOUND: *text = "There is none."; break;
    case RSMI_STATUS_INSUFFICIENT_SIZE: *text = "The buffer is too small."; break;
    default: *text = "An unknown error occurred."; break;
    }
    return RSMI_STATUS_SUCCESS;
}

rsmi_status_t hcs_rsmi_acquire(const struct hcs_sim_scenario **scenario) {
    *scenario = init_count ? acquire_loaded() : NULL;
    return *scenario ? RSMI_STATUS_SUCCESS : RSMI_STATUS_INIT_ERROR;
}

rsmi_status_t hcs_rsmi_enter(uint32_t index, const void *out,
                             const struct hcs_sim_scenario **scenario,
                             const struct hcs_sim_device **device) {
    rsmi_status_t result = hcs_rsmi_acquire(scenario);
    if (result != RSMI_STATUS_SUCCESS)
        return result;
    *device = hcs_sim_device_at(*scenario, HCS_SIM_HYGON, index);
    if (*device && (*device)->hangs) {
        unsigned number = (*device)->number;
        hcs_sim_scenario_release(*scenario);
        hcs_sim_device_wait(number);
        return hcs_rsmi_enter(index, out, scenario, device);
    }
    if (!*device || !out)
        result = RSMI_STATUS_INVALID_ARGS;
    else if (!(*device)->present)
        result = RSMI_STATUS_UNKNOWN_ERROR;
    if (result != RSMI_STATUS_SUCCESS) {
        hcs_sim_scenario_release(*scenario);
        *scenario = NULL;
    }
    return result;
}

rsmi_status_t hcs_rsmi_copy_text(char *out, size_t length, const char *text) {
    if (!out || !length)
        return RSMI_STATUS_INVALID_ARGS;
    snprintf(out, length, "%.*s", (int)length - 1, text);
    return strlen(text) < length ? RSMI_STATUS_SUCCESS : RSMI_STATUS_INSUFFICIENT_SIZE;
}

EXPORT rsmi_status_t rsmi_version_get(rsmi_version_t *version);
EXPORT rsmi_status_t rsmi_version_get(rsmi_version_t *version) {
    const struct hcs_sim_scenario *scenario;
    rsmi_status_t result = hcs_rsmi_acquire(&scenario);
    if (result != RSMI_STATUS_SUCCESS)
        return result;
    if (version)
        *version = (rsmi_version_t){.major = 2, .minor = 8, .build = "2.8"};
    else
        result = RSMI_STATUS_INVALID_ARGS;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT rsmi_status_t rsmi_version_str_get(rsmi_sw_component_t component, char *text,
                                          uint32_t length);
EXPORT rsmi_status_t rsmi_version_str_get(rsmi_sw_component_t component, char *text,
                                          uint32_t length) {
    const struct hcs_sim_scenario *scenario;
    rsmi_status_t result = hcs_rsmi_acquire(&scenario);
    if (result != RSMI_STATUS_SUCCESS)
        return result;
    result = component == RSMI_SW_COMP_DRIVER
                 ? hcs_rsmi_copy_text(text, length, scenario->hygon_driver)
                 : RSMI_STATUS_INVALID_ARGS;
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- Enumeration and identity ---------------------------------------------------------------- */

EXPORT rsmi_status_t rsmi_num_monitor_devices(uint32_t *count);
EXPORT rsmi_status_t rsmi_num_monitor_devices(uint32_t *count) {
    const struct hcs_sim_scenario *scenario;
    rsmi_status_t result = hcs_rsmi_acquire(&scenario);
    if (result != RSMI_STATUS_SUCCESS)
        return result;
    if (count)
        *count = hcs_sim_device_count(scenario, HCS_SIM_HYGON);
    else
        result = RSMI_STATUS_INVALID_ARGS;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT rsmi_status_t rsmi_dev_vendor_id_get(uint32_t index, uint16_t *id);
EXPORT rsmi_status_t rsmi_dev_vendor_id_get(uint32_t index, uint16_t *id) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, id, &scenario, &device);
    if (result == RSMI_STATUS_SUCCESS)
        *id = PCI_VENDOR;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT rsmi_status_t rsmi_dev_id_get(uint32_t index, uint16_t *id);
EXPORT rsmi_status_t rsmi_dev_id_get(uint32_t index, uint16_t *id) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, id, &scenario, &device);
    if (result != RSMI_STATUS_SUCCESS)
        return result;
    result = RSMI_STATUS_NOT_SUPPORTED;
    for (size_t i = 0; i < sizeof MODELS / sizeof *MODELS; i++)
        if (!strcmp(device->model, MODELS[i].model)) {
            *id = MODELS[i].id;
            result = RSMI_STATUS_SUCCESS;
        }
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT rsmi_status_t rsmi_dev_name_get(uint32_t index, char *name, size_t length);
EXPORT rsmi_status_t rsmi_dev_name_get(uint32_t index, char *name, size_t length) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, name, &scenario, &device);
    if (result == RSMI_STATUS_SUCCESS)
        result = hcs_rsmi_copy_text(name, length, device->model);
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT rsmi_status_t rsmi_dev_serial_number_get(uint32_t index, char *serial, uint32_t length);
EXPORT rsmi_status_t rsmi_dev_serial_number_get(uint32_t index, char *serial, uint32_t length) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, serial, &scenario, &device);
    if (result == RSMI_STATUS_SUCCESS)
        result = hcs_rsmi_copy_text(serial, length, device->serial);
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT rsmi_status_t rsmi_dev_vbios_version_get(uint32_t index, char *version, uint32_t length);
EXPORT rsmi_status_t rsmi_dev_vbios_version_get(uint32_t index, char *version, uint32_t length) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, version, &scenario, &device);
    if (result == RSMI_STATUS_SUCCESS)
        result = hcs_rsmi_copy_text(version, length, device->firmware);
    hcs_sim_scenario_release(scenario);
    return result;
}

/* The scenario's id is the unique id in hexadecimal; any other text: the card has none. */
EXPORT rsmi_status_t rsmi_dev_unique_id_get(uint32_t index, uint64_t *id);
EXPORT rsmi_status_t rsmi_dev_unique_id_get(uint32_t index, uint64_t *id) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, id, &scenario, &device);
    if (result != RSMI_STATUS_SUCCESS)
        return result;
    char *end;
    errno = 0;
    *id = strtoull(device->id, &end, 16);
    if (errno || *end)
        result = RSMI_STATUS_NOT_SUPPORTED;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT rsmi_status_t rsmi_dev_pci_id_get(uint32_t index, uint64_t *bdfid);
EXPORT rsmi_status_t rsmi_dev_pci_id_get(uint32_t index, uint64_t *bdfid) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, bdfid, &scenario, &device);
    if (result == RSMI_STATUS_SUCCESS)
        *bdfid = (uint64_t)device->pci_domain << 32 | (uint64_t)device->pci_bus << 8 |
                 (uint64_t)device->pci_device << 3 | device->pci_function;
    hcs_sim_scenario_release(scenario);
    return result;
}

/* The older header has an unsigned result here; the bits are the same: all ones for "unknown". */
EXPORT rsmi_status_t rsmi_topo_numa_affinity_get(uint32_t index, int32_t *node);
EXPORT rsmi_status_t rsmi_topo_numa_affinity_get(uint32_t index, int32_t *node) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, node, &scenario, &device);
    if (result == RSMI_STATUS_SUCCESS)
        *node = device->numa;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT rsmi_status_t rsmi_dev_memory_total_get(uint32_t index, rsmi_memory_type_t type,
                                               uint64_t *total);
EXPORT rsmi_status_t rsmi_dev_memory_total_get(uint32_t index, rsmi_memory_type_t type,
                                               uint64_t *total) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, total, &scenario, &device);
    if (result == RSMI_STATUS_SUCCESS && type != RSMI_MEM_TYPE_VRAM)
        result = RSMI_STATUS_NOT_SUPPORTED;
    if (result == RSMI_STATUS_SUCCESS)
        *total = device->vram_bytes;
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- Links ----------------------------------------------------------------------------------- */

EXPORT rsmi_status_t rsmi_topo_get_link_type(uint32_t source, uint32_t target, uint64_t *hops,
                                             RSMI_IO_LINK_TYPE *type);
EXPORT rsmi_status_t rsmi_topo_get_link_type(uint32_t source, uint32_t target, uint64_t *hops,
                                             RSMI_IO_LINK_TYPE *type) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(source, hops, &scenario, &device);
    if (result != RSMI_STATUS_SUCCESS)
        return result;
    const struct hcs_sim_device *other = hcs_sim_device_at(scenario, HCS_SIM_HYGON, target);
    if (!other || other == device || !type) {
        result = RSMI_STATUS_INVALID_ARGS;
    } else if (!other->present) {
        result = RSMI_STATUS_UNKNOWN_ERROR;
    } else {
        const struct hcs_sim_link *link =
            hcs_sim_link_between(scenario, device->number, other->number);
        bool direct = link && link->type == HCS_SIM_XGMI && link->up;
        *type = direct ? RSMI_IOLINK_TYPE_XGMI : RSMI_IOLINK_TYPE_PCIEXPRESS;
        *hops = direct ? 1 : device->numa == other->numa ? 2 : 3; /* over one CPU, or two */
    }
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- RAS ------------------------------------------------------------------------------------- */

EXPORT rsmi_status_t rsmi_dev_ecc_enabled_get(uint32_t index, uint64_t *blocks);
EXPORT rsmi_status_t rsmi_dev_ecc_enabled_get(uint32_t index, uint64_t *blocks) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, blocks, &scenario, &device);
    if (result == RSMI_STATUS_SUCCESS)
        *blocks = (1ULL << BLOCK_COUNT) - 1;
    hcs_sim_scenario_release(scenario);
    return result;
}

/* What a block has counted: the scenario's own counters belong to the memory's and the fabric's. */
static rsmi_error_count_wide_t errors_of(const struct hcs_sim_scenario *scenario,
                                         const struct hcs_sim_device *device, size_t block) {
    char code[HCS_SIM_CODE_MAX];
    snprintf(code, sizeof code, "%s" CODE_SUFFIX, BLOCKS[block]);
    rsmi_error_count_wide_t errors = {
        .uncorrectable_err = hcs_sim_fault_count(scenario, device->number, code)};
    if (1LL << block == RSMI_GPU_BLOCK_UMC) {
        errors.correctable_err = device->ecc_corrected;
        errors.uncorrectable_err += device->ecc_uncorrected;
    } else if (1LL << block == RSMI_GPU_BLOCK_XGMI_WAFL) {
        errors.correctable_err = device->link_errors;
    }
    return errors;
}

EXPORT rsmi_status_t rsmi_dev_ecc_count_get(uint32_t index, rsmi_gpu_block_t block, void *count);
EXPORT rsmi_status_t rsmi_dev_ecc_count_get(uint32_t index, rsmi_gpu_block_t block, void *count) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, count, &scenario, &device);
    if (result != RSMI_STATUS_SUCCESS)
        return result;
    size_t place = 0;
    while (place < BLOCK_COUNT && (1LL << place) != (long long)block)
        place++;
    if (place == BLOCK_COUNT) {
        result = RSMI_STATUS_NOT_SUPPORTED;
    } else {
        rsmi_error_count_wide_t errors = errors_of(scenario, device, place);
        if (scenario->rocm_smi_wide)
            *(rsmi_error_count_wide_t *)count = errors;
        else
            *(rsmi_error_count_t *)count = (rsmi_error_count_t){
                .correctable_err = errors.correctable_err,
                .uncorrectable_err = errors.uncorrectable_err};
    }
    hcs_sim_scenario_release(scenario);
    return result;
}
