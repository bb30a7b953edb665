/* Simulated libdcmi.so: what a chip is.
 *
 * Many fields of the structures stay zero, as on boards that do not fill them in.
 */
#include "dcmi.h"

#include <stdio.h>
#include <string.h>

#define PCI_VENDOR 0x19E5U
#define PCI_DEVICE_910B 0xD802U
#define COMPONENT_BYTES_MIN 64 /* the library refuses smaller buffers */

static const struct {
    const char *model;
    unsigned cores;
} AI_CORES[] = {
    {"910A", 32},     {"910ProA", 32},  {"910PremiumA", 32}, {"910ProB", 30},
    {"910B1", 24},    {"910B2", 24},    {"910B2C", 24},      {"910B3", 20},
    {"910B4", 20},    {"910B4-1", 20},  {"910_9391", 24},    {"910_9392", 24},
    {"910_9381", 24}, {"910_9382", 24}, {"310P3", 8},
};

/* Copy as much of a text as fits. */
static void put(void *out, size_t size, const char *text) {
    snprintf(out, size, "%.*s", (int)size - 1, text);
}

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

void hcs_dcmi_put_label(const struct hcs_sim_device *device, struct dcmi_elabel_info *out) {
    memset(out, 0, sizeof *out);
    put(out->manufacturer, sizeof out->manufacturer, "Huawei");
    put(out->model, sizeof out->model, device->model);
    put(out->serial_number, sizeof out->serial_number, device->serial);
}

EXPORT int dcmi_get_device_elabel_info(int card_id, int device_id, struct dcmi_elabel_info *out);
EXPORT int dcmi_get_device_elabel_info(int card_id, int device_id, struct dcmi_elabel_info *out) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
    if (result != DCMI_OK)
        return result;
    if (out)
        hcs_dcmi_put_label(device, out);
    else
        result = DCMI_ERR_CODE_INVALID_PARAMETER;
    hcs_sim_scenario_release(scenario);
    return result;
}

/* The scenario's id is the die's as the vendor's tools write it, five words in hexadecimal; any
 * other text: a driver that cannot tell it. */
bool hcs_dcmi_put_die(const struct hcs_sim_device *device, struct dcmi_die_id *out) {
    unsigned *word = out->soc_die;
    int end = 0;
    return sscanf(device->id, "%8X-%8X-%8X-%8X-%8X%n", &word[0], &word[1], &word[2], &word[3],
                  &word[4], &end) == DIE_WORDS &&
           !device->id[end];
}

EXPORT int dcmi_get_device_die_v2(int card_id, int device_id, enum dcmi_die_type type,
                                  struct dcmi_die_id *out);
EXPORT int dcmi_get_device_die_v2(int card_id, int device_id, enum dcmi_die_type type,
                                  struct dcmi_die_id *out) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    struct dcmi_die_id die;
    int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
    if (result != DCMI_OK)
        return result;
    bool told = hcs_dcmi_put_die(device, &die);
    hcs_sim_scenario_release(scenario);
    if (!out)
        return DCMI_ERR_CODE_INVALID_PARAMETER;
    if (!told || type != VDIE)
        return DCMI_ERR_CODE_NOT_SUPPORT;
    *out = die;
    return DCMI_OK;
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
