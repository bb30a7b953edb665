/* Simulated libdcmi.so: what a chip does at the moment, and what its driver counts. */
#include <string.h>

#include "card_processes.h"
#include "dcmi.h"

#define BYTES_PER_MB (1024ULL * 1024ULL)
#define MILLIWATTS_PER_UNIT 100U /* power is told in tenths of a watt */

/* --- Single numbers -------------------------------------------------------------------------- */

/* Store the number that stands at `offset` of what the scenario says of a card. */
static int read_number(int card_id, int device_id, size_t offset, void *out) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
    if (result != DCMI_OK)
        return result;
    if (out)
        memcpy(out, (const char *)device + offset, sizeof(unsigned));
    else
        result = DCMI_ERR_CODE_INVALID_PARAMETER;
    hcs_sim_scenario_release(scenario);
    return result;
}

#define FIELD(name) offsetof(struct hcs_sim_device, name)

EXPORT int dcmi_get_device_temperature(int card_id, int device_id, int *celsius);
EXPORT int dcmi_get_device_temperature(int card_id, int device_id, int *celsius) {
    return read_number(card_id, device_id, FIELD(temperature_c), celsius);
}

EXPORT int dcmi_get_device_power_info(int card_id, int device_id, int *power);
EXPORT int dcmi_get_device_power_info(int card_id, int device_id, int *power) {
    int result = read_number(card_id, device_id, FIELD(power_mw), power);
    if (result == DCMI_OK)
        *power = (int)((unsigned)*power / MILLIWATTS_PER_UNIT);
    return result;
}

EXPORT int dcmi_get_device_utilization_rate(int card_id, int device_id, int type,
                                            unsigned *percent);
EXPORT int dcmi_get_device_utilization_rate(int card_id, int device_id, int type,
                                            unsigned *percent) {
    if (type != DCMI_UTILIZATION_AICORE)
        return DCMI_ERR_CODE_NOT_SUPPORT;
    return read_number(card_id, device_id, FIELD(utilization_percent), percent);
}

EXPORT int dcmi_get_device_frequency(int card_id, int device_id, int type, unsigned *mhz);
EXPORT int dcmi_get_device_frequency(int card_id, int device_id, int type, unsigned *mhz) {
    if (type != DCMI_FREQ_AICORE_CURRENT)
        return DCMI_ERR_CODE_NOT_SUPPORT;
    return read_number(card_id, device_id, FIELD(core_clock_mhz), mhz);
}

/* --- Memory ---------------------------------------------------------------------------------- */

/* The chips of the 310 family have DDR, all others HBM. */
static bool has_ddr(const struct hcs_sim_device *device) {
    return !strncmp(device->model, "310", 3);
}

void hcs_dcmi_put_hbm(const struct hcs_sim_device *device, struct dcmi_hbm_info *out) {
    *out = (struct dcmi_hbm_info){.memory_size = device->vram_bytes / BYTES_PER_MB,
                                  .freq = device->memory_clock_mhz,
                                  .memory_usage = device->memory_used_bytes / BYTES_PER_MB,
                                  .temp = device->memory_temperature_c,
                                  .bandwith_util_rate = device->memory_utilization_percent};
}

EXPORT int dcmi_get_device_hbm_info(int card_id, int device_id, struct dcmi_hbm_info *out);
EXPORT int dcmi_get_device_hbm_info(int card_id, int device_id, struct dcmi_hbm_info *out) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
    if (result != DCMI_OK)
        return result;
    if (has_ddr(device))
        result = DCMI_ERR_CODE_NOT_SUPPORT;
    else if (out)
        hcs_dcmi_put_hbm(device, out);
    else
        result = DCMI_ERR_CODE_INVALID_PARAMETER;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT int dcmi_get_device_memory_info_v3(int card_id, int device_id,
                                          struct dcmi_get_memory_info_stru *out);
EXPORT int dcmi_get_device_memory_info_v3(int card_id, int device_id,
                                          struct dcmi_get_memory_info_stru *out) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
    if (result != DCMI_OK)
        return result;
    uint64_t available = device->vram_bytes - device->memory_used_bytes;
    if (!has_ddr(device))
        result = DCMI_ERR_CODE_NOT_SUPPORT;
    else if (out)
        *out = (struct dcmi_get_memory_info_stru){
            .memory_size = device->vram_bytes / BYTES_PER_MB,
            .memory_available = available / BYTES_PER_MB,
            .freq = device->memory_clock_mhz,
            .utiliza = device->memory_utilization_percent};
    else
        result = DCMI_ERR_CODE_INVALID_PARAMETER;
    hcs_sim_scenario_release(scenario);
    return result;
}

/* The older forms of both. */
EXPORT int dcmi_get_hbm_info(int card_id, int device_id, struct dcmi_hbm_info *out);
EXPORT int dcmi_get_hbm_info(int card_id, int device_id, struct dcmi_hbm_info *out) {
    return dcmi_get_device_hbm_info(card_id, device_id, out);
}

EXPORT int dcmi_get_device_memory_info_v2(int card_id, int device_id,
                                          struct dcmi_memory_info *out);
EXPORT int dcmi_get_device_memory_info_v2(int card_id, int device_id,
                                          struct dcmi_memory_info *out) {
    struct dcmi_get_memory_info_stru newer;
    int result = out ? dcmi_get_device_memory_info_v3(card_id, device_id, &newer)
                     : DCMI_ERR_CODE_INVALID_PARAMETER;
    if (result == DCMI_OK)
        *out = (struct dcmi_memory_info){newer.memory_size, newer.freq, newer.utiliza};
    return result;
}

EXPORT int dcmi_get_memory_info(int card_id, int device_id, struct dcmi_memory_info *out);
EXPORT int dcmi_get_memory_info(int card_id, int device_id, struct dcmi_memory_info *out) {
    return dcmi_get_device_memory_info_v2(card_id, device_id, out);
}

EXPORT int dcmi_get_device_ecc_info(int card_id, int device_id, int type,
                                    struct dcmi_ecc_info *out);
EXPORT int dcmi_get_device_ecc_info(int card_id, int device_id, int type,
                                    struct dcmi_ecc_info *out) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
    if (result != DCMI_OK)
        return result;
    int own_type = has_ddr(device) ? DCMI_DEVICE_TYPE_DDR : DCMI_DEVICE_TYPE_HBM;
    unsigned single = (unsigned)device->ecc_corrected, twice = (unsigned)device->ecc_uncorrected;
    if (type != own_type)
        result = DCMI_ERR_CODE_NOT_SUPPORT;
    else if (out) /* over its life a chip has seen more than since the driver's start */
        *out = (struct dcmi_ecc_info){.enable_flag = 1,
                                      .single_bit_error_cnt = single,
                                      .double_bit_error_cnt = twice,
                                      .total_single_bit_error_cnt = single + 1000,
                                      .total_double_bit_error_cnt = twice + 1000};
    else
        result = DCMI_ERR_CODE_INVALID_PARAMETER;
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- PCIe and HCCS --------------------------------------------------------------------------- */

static bool has_hccs(const struct hcs_sim_scenario *scenario, unsigned number) {
    for (size_t i = 0; i < scenario->link_count; i++) {
        const struct hcs_sim_link *link = &scenario->links[i];
        if (link->type == HCS_SIM_HCCS && (link->a == number || link->b == number))
            return true;
    }
    return false;
}

/* Fill in the counters of the ports; the scenario's one number is spread over two of them. */
static void fill_hccs(struct dcmi_hccs_statistic_info_u64 *out, uint64_t errors) {
    memset(out, 0, sizeof *out);
    out->crc_err_cnt[1] = errors / 2;
    out->retry_cnt[7] = errors - errors / 2;
}

EXPORT int dcmi_get_device_info(int card_id, int device_id, int main_cmd, unsigned sub_cmd,
                                void *buffer, unsigned *size);
EXPORT int dcmi_get_device_info(int card_id, int device_id, int main_cmd, unsigned sub_cmd,
                                void *buffer, unsigned *size) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    bool pcie = main_cmd == DCMI_MAIN_CMD_PCIE && sub_cmd == DCMI_PCIE_SUB_CMD_PCIE_ERROR_INFO;
    bool hccs = main_cmd == DCMI_MAIN_CMD_HCCS && sub_cmd == DCMI_HCCS_CMD_GET_STATISTIC_INFO_U64;
    unsigned needed = pcie ? sizeof(struct dcmi_pcie_link_error_info)
                           : sizeof(struct dcmi_hccs_statistic_info_u64);
    if (!pcie && !hccs)
        return DCMI_ERR_CODE_NOT_SUPPORT;
    if (!buffer || !size || *size < needed)
        return DCMI_ERR_CODE_INVALID_PARAMETER;
    int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
    if (result != DCMI_OK)
        return result;
    if (pcie)
        *(struct dcmi_pcie_link_error_info *)buffer =
            (struct dcmi_pcie_link_error_info){.retry_cnt = (unsigned)device->pcie_replays};
    else if (has_hccs(scenario, device->number))
        fill_hccs(buffer, device->link_errors);
    else
        result = DCMI_ERR_CODE_NOT_SUPPORT;
    *size = needed;
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- Processes ------------------------------------------------------------------------------- */

EXPORT int dcmi_get_device_resource_info(int card_id, int device_id,
                                         struct dcmi_proc_mem_info *infos, int *count);
EXPORT int dcmi_get_device_resource_info(int card_id, int device_id,
                                         struct dcmi_proc_mem_info *infos, int *count) {
    struct hcs_sim_card_process processes[HCS_SIM_PROCESSES_MAX];
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
    if (result != DCMI_OK)
        return result;
    unsigned number = device->number;
    hcs_sim_scenario_release(scenario);
    if (!infos || !count)
        return DCMI_ERR_CODE_INVALID_PARAMETER;
    size_t found = hcs_sim_processes_of(number, processes);
    *count = found < DCMI_PROCESSES_MAX ? (int)found : DCMI_PROCESSES_MAX;
    for (int i = 0; i < *count; i++)
        infos[i] = (struct dcmi_proc_mem_info){.proc_id = (int)processes[i].pid,
                                               .proc_mem_usage = processes[i].used_bytes};
    return DCMI_OK;
}
