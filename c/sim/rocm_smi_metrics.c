/* Simulated librocm_smi64.so.2: what a card does at the moment.
 *
 * Most of it comes twice, as in the real library: all at once in the table that the card's firmware
 * keeps, and one by one. Where the two layouts differ, the scenario says which one is installed.
 */
#include <string.h>

#include "rocm_smi.h"

#define TABLE_UNKNOWN 0xFF /* in all bytes of a field that the firmware does not fill */
#define MICRO_PER_MILLI 1000U
#define MILLI_PER_UNIT 1000
#define HZ_PER_MHZ 1000000ULL

/* Bits of `indep_throttle_status`, as amdgpu's driver numbers them. */
#define THROTTLER_PPT0 (1ULL << 0)
#define THROTTLER_TEMP_HOTSPOT (1ULL << 36)
#define THROTTLER_PROCHOT_GFX (1ULL << 47)
#define THROTTLER_FIT (1ULL << 57)

/* Transfers per second and lane of PCIe's generations from 1 on. */
static const uint64_t TRANSFER_RATES[] = {2500000000,  5000000000,  8000000000,
                                          16000000000, 32000000000, 64000000000};
#define TRANSFER_RATES_PER_UNIT 100000000 /* the table counts in 0.1 GT/s */

static uint64_t transfer_rate(unsigned generation) {
    size_t count = sizeof TRANSFER_RATES / sizeof *TRANSFER_RATES;
    return generation >= 1 && generation <= count ? TRANSFER_RATES[generation - 1] : 0;
}

/* --- All at once ----------------------------------------------------------------------------- */

static uint64_t throttlers(enum hcs_sim_throttle throttle) {
    switch (throttle) {
    case HCS_SIM_THROTTLE_NONE: return 0;
    case HCS_SIM_THROTTLE_POWER: return THROTTLER_PPT0;
    case HCS_SIM_THROTTLE_THERMAL: return THROTTLER_TEMP_HOTSPOT;
    case HCS_SIM_THROTTLE_HARDWARE: return THROTTLER_PROCHOT_GFX;
    case HCS_SIM_THROTTLE_OTHER: return THROTTLER_FIT;
    }
    return 0;
}

static void fill_table(const struct hcs_sim_device *device, rsmi_gpu_metrics_t *out) {
    memset(out, TABLE_UNKNOWN, sizeof *out);
    out->structure_size = sizeof *out;
    out->format_revision = 1;
    out->content_revision = 1;
    out->temperature_edge = (uint16_t)device->temperature_c;
    out->temperature_mem = (uint16_t)device->memory_temperature_c;
    out->average_gfx_activity = (uint16_t)device->utilization_percent;
    out->average_umc_activity = (uint16_t)device->memory_utilization_percent;
    out->average_socket_power = (uint16_t)(device->power_mw / MILLI_PER_UNIT);
    out->current_gfxclk = (uint16_t)device->core_clock_mhz;
    out->current_uclk = (uint16_t)device->memory_clock_mhz;
    out->throttle_status = device->throttle ? 1U << device->throttle : 0;
    out->pcie_link_width = (uint16_t)device->pcie_width;
    out->pcie_link_speed =
        (uint16_t)(transfer_rate(device->pcie_generation) / TRANSFER_RATES_PER_UNIT);
}

static void fill_wide_table(const struct hcs_sim_device *device, rsmi_gpu_metrics_wide_t *out) {
    memset(out, TABLE_UNKNOWN, sizeof *out);
    fill_table(device, &out->revision_1_1);
    out->revision_1_1.content_revision = 3;
    out->indep_throttle_status = throttlers(device->throttle);
}

EXPORT rsmi_status_t rsmi_dev_gpu_metrics_info_get(uint32_t index, void *metrics);
EXPORT rsmi_status_t rsmi_dev_gpu_metrics_info_get(uint32_t index, void *metrics) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, metrics, &scenario, &device);
    if (result != RSMI_STATUS_SUCCESS)
        return result;
    if (scenario->rocm_smi_wide)
        fill_wide_table(device, metrics);
    else
        fill_table(device, metrics);
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- One by one ------------------------------------------------------------------------------ */

EXPORT rsmi_status_t rsmi_dev_memory_usage_get(uint32_t index, rsmi_memory_type_t type,
                                               uint64_t *used);
EXPORT rsmi_status_t rsmi_dev_memory_usage_get(uint32_t index, rsmi_memory_type_t type,
                                               uint64_t *used) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, used, &scenario, &device);
    if (result == RSMI_STATUS_SUCCESS && type != RSMI_MEM_TYPE_VRAM)
        result = RSMI_STATUS_NOT_SUPPORTED;
    if (result == RSMI_STATUS_SUCCESS)
        *used = device->memory_used_bytes;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT rsmi_status_t rsmi_dev_busy_percent_get(uint32_t index, uint32_t *percent);
EXPORT rsmi_status_t rsmi_dev_busy_percent_get(uint32_t index, uint32_t *percent) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, percent, &scenario, &device);
    if (result == RSMI_STATUS_SUCCESS)
        *percent = device->utilization_percent;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT rsmi_status_t rsmi_dev_memory_busy_percent_get(uint32_t index, uint32_t *percent);
EXPORT rsmi_status_t rsmi_dev_memory_busy_percent_get(uint32_t index, uint32_t *percent) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, percent, &scenario, &device);
    if (result == RSMI_STATUS_SUCCESS)
        *percent = device->memory_utilization_percent;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT rsmi_status_t rsmi_dev_power_ave_get(uint32_t index, uint32_t sensor, uint64_t *microwatts);
EXPORT rsmi_status_t rsmi_dev_power_ave_get(uint32_t index, uint32_t sensor, uint64_t *microwatts) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, microwatts, &scenario, &device);
    if (result == RSMI_STATUS_SUCCESS && sensor != 0)
        result = RSMI_STATUS_NOT_SUPPORTED;
    if (result == RSMI_STATUS_SUCCESS)
        *microwatts = (uint64_t)device->power_mw * MICRO_PER_MILLI;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT rsmi_status_t rsmi_dev_temp_metric_get(uint32_t index, uint32_t sensor,
                                              rsmi_temperature_metric_t metric,
                                              int64_t *millidegrees);
EXPORT rsmi_status_t rsmi_dev_temp_metric_get(uint32_t index, uint32_t sensor,
                                              rsmi_temperature_metric_t metric,
                                              int64_t *millidegrees) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, millidegrees, &scenario, &device);
    if (result != RSMI_STATUS_SUCCESS)
        return result;
    if (metric != RSMI_TEMP_CURRENT || sensor > RSMI_TEMP_TYPE_MEMORY)
        result = RSMI_STATUS_NOT_SUPPORTED;
    else
        *millidegrees = (int64_t)(sensor == RSMI_TEMP_TYPE_MEMORY ? device->memory_temperature_c
                                                                  : device->temperature_c) *
                        MILLI_PER_UNIT;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT rsmi_status_t rsmi_dev_pci_replay_counter_get(uint32_t index, uint64_t *count);
EXPORT rsmi_status_t rsmi_dev_pci_replay_counter_get(uint32_t index, uint64_t *count) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, count, &scenario, &device);
    if (result == RSMI_STATUS_SUCCESS)
        *count = device->pcie_replays;
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- Levels ---------------------------------------------------------------------------------- */

/* The level in use comes first, the highest one last; a card at its highest has only that. */
static rsmi_frequencies_wide_t levels(uint64_t now, uint64_t most) {
    rsmi_frequencies_wide_t out = {.num_supported = now == most ? 1 : 2, .frequency = {now, most}};
    return out;
}

static rsmi_frequencies_t narrow(const rsmi_frequencies_wide_t *wide) {
    rsmi_frequencies_t out = {.num_supported = wide->num_supported, .current = wide->current};
    memcpy(out.frequency, wide->frequency, sizeof out.frequency);
    return out;
}

EXPORT rsmi_status_t rsmi_dev_gpu_clk_freq_get(uint32_t index, rsmi_clk_type_t type, void *out);
EXPORT rsmi_status_t rsmi_dev_gpu_clk_freq_get(uint32_t index, rsmi_clk_type_t type, void *out) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, out, &scenario, &device);
    if (result != RSMI_STATUS_SUCCESS)
        return result;
    rsmi_frequencies_wide_t clocks;
    if (type == RSMI_CLK_TYPE_SYS)
        clocks = levels(device->core_clock_mhz * HZ_PER_MHZ,
                        device->core_clock_max_mhz * HZ_PER_MHZ);
    else if (type == RSMI_CLK_TYPE_MEM)
        clocks = levels(device->memory_clock_mhz * HZ_PER_MHZ,
                        device->memory_clock_mhz * HZ_PER_MHZ);
    else
        result = RSMI_STATUS_NOT_SUPPORTED;
    if (result == RSMI_STATUS_SUCCESS && scenario->rocm_smi_wide)
        *(rsmi_frequencies_wide_t *)out = clocks;
    else if (result == RSMI_STATUS_SUCCESS)
        *(rsmi_frequencies_t *)out = narrow(&clocks);
    hcs_sim_scenario_release(scenario);
    return result;
}

static rsmi_pcie_bandwidth_wide_t bandwidth_of(const struct hcs_sim_device *device) {
    uint64_t now = transfer_rate(device->pcie_generation);
    uint64_t most = transfer_rate(device->pcie_generation_max);
    rsmi_pcie_bandwidth_wide_t out = {.transfer_rate = levels(now, most),
                                      .lanes = {device->pcie_width, device->pcie_width_max}};
    if (device->pcie_width != device->pcie_width_max)
        out.transfer_rate.num_supported = 2; /* the same rate over fewer lanes */
    return out;
}

EXPORT rsmi_status_t rsmi_dev_pci_bandwidth_get(uint32_t index, void *out);
EXPORT rsmi_status_t rsmi_dev_pci_bandwidth_get(uint32_t index, void *out) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, out, &scenario, &device);
    if (result != RSMI_STATUS_SUCCESS)
        return result;
    rsmi_pcie_bandwidth_wide_t bandwidth = bandwidth_of(device);
    if (scenario->rocm_smi_wide) {
        *(rsmi_pcie_bandwidth_wide_t *)out = bandwidth;
    } else {
        rsmi_pcie_bandwidth_t *old = out;
        old->transfer_rate = narrow(&bandwidth.transfer_rate);
        memcpy(old->lanes, bandwidth.lanes, sizeof old->lanes);
    }
    hcs_sim_scenario_release(scenario);
    return result;
}
