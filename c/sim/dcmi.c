/* Simulated libdcmi.so: enumeration, identity, topology.
 *
 * Each simulated card is a board with one chip: (card_id, 0), card_id counting from 0. Many fields
 * of the structures stay zero, as on boards that do not fill them in. When the driver goes away the
 * library has to be initialised anew.
 */
#include "dcmi.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCI_VENDOR 0x19E5U
#define PCI_DEVICE_910B 0xD802U
#define AFFINITY_CPUS_MAX 32 /* TOPO_INFO_MAX_LENTH: bytes of the caller's buffer */
#define CPUS_PER_NUMA_NODE 48
#define VERSION_BYTES_MIN 16   /* the library refuses smaller buffers for its own version, */
#define COMPONENT_BYTES_MIN 64 /* and for a component's */

static atomic_bool initialised;
static atomic_bool driver_gone; /* seen since the last dcmi_init */

static const struct {
    const char *model;
    unsigned cores;
} AI_CORES[] = {
    {"910A", 32},     {"910ProA", 32},  {"910PremiumA", 32}, {"910ProB", 30},
    {"910B1", 24},    {"910B2", 24},    {"910B2C", 24},      {"910B3", 20},
    {"910B4", 20},    {"910B4-1", 20},  {"910_9391", 24},    {"910_9392", 24},
    {"910_9381", 24}, {"910_9382", 24}, {"310P3", 8},
};

/* The snapshot while the driver is loaded, or NULL. */
static const struct hcs_sim_scenario *acquire_loaded(void) {
    const struct hcs_sim_scenario *scenario = hcs_sim_scenario_acquire();
    if (scenario && !scenario->driver_down[HCS_SIM_HUAWEI])
        return scenario;
    hcs_sim_scenario_release(scenario);
    return NULL;
}

EXPORT int dcmi_init(void);
EXPORT int dcmi_init(void) {
    const struct hcs_sim_scenario *scenario = acquire_loaded();
    if (!scenario)
        return DCMI_ERR_CODE_INNER_ERR; /* as without a driver */
    bool anew = atomic_exchange(&driver_gone, false);
    if (!atomic_exchange(&initialised, true) || anew)
        hcs_dcmi_events_begin(scenario);
    hcs_sim_scenario_release(scenario);
    return DCMI_OK;
}

static int acquire(const struct hcs_sim_scenario **scenario) {
    *scenario = NULL;
    if (!initialised)
        return DCMI_ERR_CODE_NOT_REDAY;
    *scenario = acquire_loaded();
    if (!*scenario) {
        driver_gone = true;
        return DCMI_ERR_CODE_INNER_ERR;
    }
    if (!driver_gone)
        return DCMI_OK;
    hcs_sim_scenario_release(*scenario);
    *scenario = NULL;
    return DCMI_ERR_CODE_NOT_REDAY;
}

/* Find the card (card_id, 0); NULL leaves `*result` to tell why. */
static const struct hcs_sim_device *find(const struct hcs_sim_scenario *scenario, int card_id,
                                         int device_id, int *result) {
    const struct hcs_sim_device *device = NULL;
    if (card_id >= 0)
        device = hcs_sim_device_at(scenario, HCS_SIM_HUAWEI, (unsigned)card_id);
    *result = DCMI_OK;
    if (!device)
        *result = DCMI_ERR_CODE_INVALID_PARAMETER;
    else if (device_id != 0)
        *result = DCMI_ERR_CODE_INVALID_DEVICE_ID;
    return *result == DCMI_OK ? device : NULL;
}

int hcs_dcmi_enter_any(int card_id, int device_id, const struct hcs_sim_scenario **scenario,
                       const struct hcs_sim_device **device) {
    for (bool waited = false;; waited = true) {
        int result = acquire(scenario);
        if (result != DCMI_OK)
            return result;
        *device = find(*scenario, card_id, device_id, &result);
        if (*device && waited)
            return DCMI_OK;
        unsigned number = *device ? (*device)->number : 0;
        hcs_sim_scenario_release(*scenario);
        *scenario = NULL;
        if (!*device)
            return result;
        hcs_sim_device_wait(number);
    }
}

int hcs_dcmi_enter(int card_id, int device_id, const struct hcs_sim_scenario **scenario,
                   const struct hcs_sim_device **device) {
    int result = hcs_dcmi_enter_any(card_id, device_id, scenario, device);
    if (result != DCMI_OK || (*device)->present)
        return result;
    hcs_sim_scenario_release(*scenario);
    *scenario = NULL;
    return DCMI_ERR_CODE_DEVICE_NOT_EXIST;
}

/* Copy as much of a text as fits. */
static void put(void *out, size_t size, const char *text) {
    snprintf(out, size, "%.*s", (int)size - 1, text);
}

/* --- Enumeration ----------------------------------------------------------------------------- */

static int put_version(char *version, unsigned length) {
    const struct hcs_sim_scenario *scenario;
    int result = acquire(&scenario);
    if (result != DCMI_OK)
        return result;
    if (version && strlen(scenario->ascend_driver) < length)
        strcpy(version, scenario->ascend_driver);
    else
        result = DCMI_ERR_CODE_INVALID_PARAMETER;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT int dcmi_get_driver_version(char *version, unsigned length);
EXPORT int dcmi_get_driver_version(char *version, unsigned length) {
    return put_version(version, length);
}

/* The library and the driver are built together. */
EXPORT int dcmi_get_dcmi_version(char *version, unsigned length);
EXPORT int dcmi_get_dcmi_version(char *version, unsigned length) {
    return length < VERSION_BYTES_MIN ? DCMI_ERR_CODE_INVALID_PARAMETER
                                      : put_version(version, length);
}

EXPORT int dcmi_get_card_list(int *count, int *list, int list_length);
EXPORT int dcmi_get_card_list(int *count, int *list, int list_length) {
    const struct hcs_sim_scenario *scenario;
    int result = acquire(&scenario);
    if (result != DCMI_OK)
        return result;
    unsigned cards = hcs_sim_device_count(scenario, HCS_SIM_HUAWEI);
    hcs_sim_scenario_release(scenario);
    if (!count || !list || list_length <= 0)
        return DCMI_ERR_CODE_INVALID_PARAMETER;
    *count = (int)cards < list_length ? (int)cards : list_length;
    for (int i = 0; i < *count; i++)
        list[i] = i;
    return DCMI_OK;
}

EXPORT int dcmi_get_device_num_in_card(int card_id, int *count);
EXPORT int dcmi_get_device_num_in_card(int card_id, int *count) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    int result = hcs_dcmi_enter_any(card_id, 0, &scenario, &device);
    hcs_sim_scenario_release(scenario);
    if (result == DCMI_OK && !count)
        result = DCMI_ERR_CODE_INVALID_PARAMETER;
    if (result == DCMI_OK)
        *count = 1;
    return result;
}

EXPORT int dcmi_get_device_id_in_card(int card_id, int *device_id_max, int *mcu_id, int *cpu_id);
EXPORT int dcmi_get_device_id_in_card(int card_id, int *device_id_max, int *mcu_id, int *cpu_id) {
    if (!device_id_max || !mcu_id || !cpu_id)
        return DCMI_ERR_CODE_INVALID_PARAMETER;
    int result = dcmi_get_device_num_in_card(card_id, device_id_max);
    if (result == DCMI_OK)
        *mcu_id = *cpu_id = -1;
    return result;
}

EXPORT int dcmi_get_device_logic_id(int *logic_id, int card_id, int device_id);
EXPORT int dcmi_get_device_logic_id(int *logic_id, int card_id, int device_id) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
    hcs_sim_scenario_release(scenario);
    if (result == DCMI_OK && !logic_id)
        result = DCMI_ERR_CODE_INVALID_PARAMETER;
    if (result == DCMI_OK)
        *logic_id = card_id;
    return result;
}

/* --- Identity -------------------------------------------------------------------------------- */

EXPORT int dcmi_get_device_chip_info_v2(int card_id, int device_id, struct dcmi_chip_info_v2 *out);
EXPORT int dcmi_get_device_chip_info_v2(int card_id, int device_id, struct dcmi_chip_info_v2 *out) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
    if (result != DCMI_OK)
        return result;
    if (out) {
        memset(out, 0, sizeof *out);
        put(out->chip_type, sizeof out->chip_type, "Ascend");
        put(out->chip_name, sizeof out->chip_name, device->model);
        put(out->chip_ver, sizeof out->chip_ver, "V1");
        for (size_t i = 0; i < sizeof AI_CORES / sizeof *AI_CORES; i++)
            if (!strcmp(AI_CORES[i].model, device->model))
                out->aicore_cnt = AI_CORES[i].cores;
    } else {
        result = DCMI_ERR_CODE_INVALID_PARAMETER;
    }
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT int dcmi_get_device_elabel_info(int card_id, int device_id, struct dcmi_elabel_info *out);
EXPORT int dcmi_get_device_elabel_info(int card_id, int device_id, struct dcmi_elabel_info *out) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
    if (result != DCMI_OK)
        return result;
    if (out) {
        memset(out, 0, sizeof *out);
        put(out->manufacturer, sizeof out->manufacturer, "Huawei");
        put(out->model, sizeof out->model, device->model);
        put(out->serial_number, sizeof out->serial_number, device->id);
    } else {
        result = DCMI_ERR_CODE_INVALID_PARAMETER;
    }
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT int dcmi_get_device_pcie_info_v2(int card_id, int device_id,
                                        struct dcmi_pcie_info_all *out);
EXPORT int dcmi_get_device_pcie_info_v2(int card_id, int device_id,
                                        struct dcmi_pcie_info_all *out) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
    if (result != DCMI_OK)
        return result;
    if (out)
        *out = (struct dcmi_pcie_info_all){.venderid = PCI_VENDOR,
                                           .deviceid = PCI_DEVICE_910B,
                                           .domain = (int)device->pci_domain,
                                           .bdf_busid = device->pci_bus,
                                           .bdf_deviceid = device->pci_device,
                                           .bdf_funcid = device->pci_function};
    else
        result = DCMI_ERR_CODE_INVALID_PARAMETER;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT int dcmi_get_device_component_static_version(int card_id, int device_id, unsigned type,
                                                    unsigned char *version, unsigned length);
EXPORT int dcmi_get_device_component_static_version(int card_id, int device_id, unsigned type,
                                                    unsigned char *version, unsigned length) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    if (!version || length < COMPONENT_BYTES_MIN)
        return DCMI_ERR_CODE_INVALID_PARAMETER;
    int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
    if (result != DCMI_OK)
        return result;
    if (type == DCMI_COMPONENT_TYPE_HILINK && device->firmware[0])
        put(version, length, device->firmware);
    else
        result = DCMI_ERR_CODE_NOT_SUPPORT;
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- Topology -------------------------------------------------------------------------------- */

static int topology(const struct hcs_sim_scenario *scenario, const struct hcs_sim_device *one,
                    const struct hcs_sim_device *other) {
    if (one == other)
        return DCMI_TOPO_SELF;
    const struct hcs_sim_link *link = hcs_sim_link_between(scenario, one->number, other->number);
    if (link && link->type == HCS_SIM_HCCS && link->up)
        return DCMI_TOPO_HCCS;
    return one->numa == other->numa ? DCMI_TOPO_PHB : DCMI_TOPO_SYS;
}

EXPORT int dcmi_get_topo_info_by_device_id(int card_id1, int device_id1, int card_id2,
                                           int device_id2, int *type);
EXPORT int dcmi_get_topo_info_by_device_id(int card_id1, int device_id1, int card_id2,
                                           int device_id2, int *type) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *one, *other;
    int result = hcs_dcmi_enter(card_id2, device_id2, &scenario, &other);
    hcs_sim_scenario_release(scenario); /* this was for its errors, and in case it hangs */
    if (result == DCMI_OK)
        result = hcs_dcmi_enter(card_id1, device_id1, &scenario, &one);
    if (result != DCMI_OK)
        return result;
    other = find(scenario, card_id2, device_id2, &result);
    if (!type)
        result = DCMI_ERR_CODE_INVALID_PARAMETER;
    else if (other)
        *type = topology(scenario, one, other);
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT int dcmi_get_affinity_cpu_info_by_device_id(int card_id, int device_id, char *cpus,
                                                   int *length);
EXPORT int dcmi_get_affinity_cpu_info_by_device_id(int card_id, int device_id, char *cpus,
                                                   int *length) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
    if (result != DCMI_OK)
        return result;
    int first = (device->numa < 0 ? 0 : device->numa) * CPUS_PER_NUMA_NODE;
    hcs_sim_scenario_release(scenario);
    if (!cpus || !length)
        return DCMI_ERR_CODE_INVALID_PARAMETER;
    *length = snprintf(cpus, AFFINITY_CPUS_MAX, "%d-%d", first, first + CPUS_PER_NUMA_NODE - 1);
    return DCMI_OK;
}
