/* Simulated libnvidia-ml.so.1: what a card does at the moment, and what its driver counts. */
#include <string.h>
#include <time.h>

#include "card_processes.h"
#include "nvml.h"

#define MEMORY_BUS_BITS 5120U /* five stacks of HBM */

/* --- Single numbers -------------------------------------------------------------------------- */

/* Store the number that stands at `offset` of what the scenario says of a card. */
static nvmlReturn_t read_number(nvmlDevice_t handle, size_t offset, unsigned *out) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    nvmlReturn_t result = hcs_nvml_enter(handle, &scenario, &device);
    if (result != NVML_SUCCESS)
        return result;
    if (out)
        memcpy(out, (const char *)device + offset, sizeof *out);
    else
        result = NVML_ERROR_INVALID_ARGUMENT;
    hcs_sim_scenario_release(scenario);
    return result;
}

#define FIELD(name) offsetof(struct hcs_sim_device, name)

EXPORT nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t handle, unsigned *milliwatts);
EXPORT nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t handle, unsigned *milliwatts) {
    return read_number(handle, FIELD(power_mw), milliwatts);
}

EXPORT nvmlReturn_t nvmlDeviceGetCurrPcieLinkGeneration(nvmlDevice_t handle, unsigned *generation);
EXPORT nvmlReturn_t nvmlDeviceGetCurrPcieLinkGeneration(nvmlDevice_t handle, unsigned *generation) {
    return read_number(handle, FIELD(pcie_generation), generation);
}

EXPORT nvmlReturn_t nvmlDeviceGetMaxPcieLinkGeneration(nvmlDevice_t handle, unsigned *generation);
EXPORT nvmlReturn_t nvmlDeviceGetMaxPcieLinkGeneration(nvmlDevice_t handle, unsigned *generation) {
    return read_number(handle, FIELD(pcie_generation_max), generation);
}

EXPORT nvmlReturn_t nvmlDeviceGetCurrPcieLinkWidth(nvmlDevice_t handle, unsigned *width);
EXPORT nvmlReturn_t nvmlDeviceGetCurrPcieLinkWidth(nvmlDevice_t handle, unsigned *width) {
    return read_number(handle, FIELD(pcie_width), width);
}

EXPORT nvmlReturn_t nvmlDeviceGetMaxPcieLinkWidth(nvmlDevice_t handle, unsigned *width);
EXPORT nvmlReturn_t nvmlDeviceGetMaxPcieLinkWidth(nvmlDevice_t handle, unsigned *width) {
    return read_number(handle, FIELD(pcie_width_max), width);
}

EXPORT nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t handle, int type, unsigned *mhz);
EXPORT nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t handle, int type, unsigned *mhz) {
    switch (type) {
    case NVML_CLOCK_GRAPHICS:
    case NVML_CLOCK_SM: return read_number(handle, FIELD(core_clock_mhz), mhz);
    case NVML_CLOCK_MEM: return read_number(handle, FIELD(memory_clock_mhz), mhz);
    case NVML_CLOCK_VIDEO: return NVML_ERROR_NOT_SUPPORTED;
    }
    return NVML_ERROR_INVALID_ARGUMENT;
}

/* NVML has no bandwidth: it tells the bus's width, and its clock, at which it moves two bits. */
static unsigned memory_clock_max_mhz(const struct hcs_sim_device *device) {
    unsigned gbits_s = 8 * device->memory_bandwidth_gbytes_s;
    return (gbits_s * 1000 + MEMORY_BUS_BITS) / (2 * MEMORY_BUS_BITS);
}

EXPORT nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t handle, int type, unsigned *mhz);
EXPORT nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t handle, int type, unsigned *mhz) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    nvmlReturn_t result = hcs_nvml_enter(handle, &scenario, &device);
    if (result != NVML_SUCCESS)
        return result;
    bool of_memory = type == NVML_CLOCK_MEM;
    if (!mhz || type < NVML_CLOCK_GRAPHICS || type > NVML_CLOCK_VIDEO)
        result = NVML_ERROR_INVALID_ARGUMENT;
    else if (type == NVML_CLOCK_VIDEO || (of_memory && !device->memory_bandwidth_gbytes_s))
        result = NVML_ERROR_NOT_SUPPORTED;
    else
        *mhz = of_memory ? memory_clock_max_mhz(device) : device->core_clock_max_mhz;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryBusWidth(nvmlDevice_t handle, unsigned *bits);
EXPORT nvmlReturn_t nvmlDeviceGetMemoryBusWidth(nvmlDevice_t handle, unsigned *bits) {
    unsigned bandwidth;
    nvmlReturn_t result = read_number(handle, FIELD(memory_bandwidth_gbytes_s), &bandwidth);
    if (result != NVML_SUCCESS)
        return result;
    if (!bits)
        return NVML_ERROR_INVALID_ARGUMENT;
    *bits = MEMORY_BUS_BITS;
    return bandwidth ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
}

static nvmlReturn_t read_temperature(nvmlDevice_t handle, int sensor, unsigned *celsius) {
    if (sensor != NVML_TEMPERATURE_GPU)
        return NVML_ERROR_INVALID_ARGUMENT;
    return read_number(handle, FIELD(temperature_c), celsius);
}

EXPORT nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t handle, int sensor, unsigned *celsius);
EXPORT nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t handle, int sensor, unsigned *celsius) {
    return read_temperature(handle, sensor, celsius);
}

EXPORT nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t handle, nvmlTemperature_v1_t *out);
EXPORT nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t handle, nvmlTemperature_v1_t *out) {
    if (!out)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (out->version != NVML_TEMPERATURE_V1)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    return read_temperature(handle, out->sensorType, (unsigned *)&out->temperature);
}

/* --- Utilisation and throttling -------------------------------------------------------------- */

EXPORT nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t handle, nvmlUtilization_t *out);
EXPORT nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t handle, nvmlUtilization_t *out) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    nvmlReturn_t result = hcs_nvml_enter(handle, &scenario, &device);
    if (result != NVML_SUCCESS)
        return result;
    if (out)
        *out = (nvmlUtilization_t){.gpu = device->utilization_percent,
                                   .memory = device->memory_utilization_percent};
    else
        result = NVML_ERROR_INVALID_ARGUMENT;
    hcs_sim_scenario_release(scenario);
    return result;
}

static unsigned long long reasons_of(const struct hcs_sim_device *device) {
    switch (device->throttle) {
    case HCS_SIM_THROTTLE_POWER: return NVML_EVENT_REASON_SW_POWER_CAP;
    case HCS_SIM_THROTTLE_THERMAL: return NVML_EVENT_REASON_SW_THERMAL_SLOWDOWN;
    case HCS_SIM_THROTTLE_HARDWARE:
        return NVML_EVENT_REASON_HW_SLOWDOWN | NVML_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN;
    case HCS_SIM_THROTTLE_OTHER: return NVML_EVENT_REASON_SYNC_BOOST;
    case HCS_SIM_THROTTLE_NONE: break;
    }
    return device->utilization_percent ? 0 : NVML_EVENT_REASON_GPU_IDLE;
}

static nvmlReturn_t read_reasons(nvmlDevice_t handle, unsigned long long *reasons) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    nvmlReturn_t result = hcs_nvml_enter(handle, &scenario, &device);
    if (result != NVML_SUCCESS)
        return result;
    if (reasons)
        *reasons = reasons_of(device);
    else
        result = NVML_ERROR_INVALID_ARGUMENT;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t handle,
                                                           unsigned long long *reasons);
EXPORT nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t handle,
                                                           unsigned long long *reasons) {
    return read_reasons(handle, reasons);
}

/* Its older name, which newer drivers keep. */
EXPORT nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t handle,
                                                              unsigned long long *reasons);
EXPORT nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t handle,
                                                              unsigned long long *reasons) {
    return read_reasons(handle, reasons);
}

/* --- Field values ---------------------------------------------------------------------------- */

static int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void put_narrow(nvmlFieldValue_t *out, unsigned value) {
    memset(&out->value, 0xFF, sizeof out->value); /* the driver writes this member alone */
    out->valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
    out->value.uiVal = value;
}

static void put_wide(nvmlFieldValue_t *out, uint64_t value) {
    out->valueType = NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
    out->value.ullVal = value;
}

/* Fill in one of the four counters that the scenario's one number of link errors is spread over. */
static nvmlReturn_t put_link_errors(nvmlFieldValue_t *out, const struct hcs_sim_scenario *scenario,
                                    const struct hcs_sim_device *device, unsigned share) {
    if (!hcs_nvml_has_links(scenario, device->number))
        return NVML_ERROR_NOT_SUPPORTED;
    put_wide(out, (device->link_errors + share) / 4); /* shares 0 to 3: the sum is exact */
    return NVML_SUCCESS;
}

static nvmlReturn_t put_field(nvmlFieldValue_t *out, const struct hcs_sim_scenario *scenario,
                              const struct hcs_sim_device *device) {
    switch (out->fieldId) {
    case NVML_FI_DEV_ECC_SBE_VOL_TOTAL: put_wide(out, device->ecc_corrected); break;
    case NVML_FI_DEV_ECC_DBE_VOL_TOTAL: put_wide(out, device->ecc_uncorrected); break;
    case NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL:
        return put_link_errors(out, scenario, device, 0);
    case NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL:
        return put_link_errors(out, scenario, device, 1);
    case NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL:
        return put_link_errors(out, scenario, device, 2);
    case NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL:
        return put_link_errors(out, scenario, device, 3);
    case NVML_FI_DEV_MEMORY_TEMP: put_narrow(out, (unsigned)device->memory_temperature_c); break;
    case NVML_FI_DEV_PCIE_REPLAY_COUNTER: put_narrow(out, (unsigned)device->pcie_replays); break;
    case NVML_FI_DEV_GET_GPU_RECOVERY_ACTION: put_narrow(out, device->recovery_action); break;
    default: return NVML_ERROR_NOT_SUPPORTED;
    }
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t handle, int count,
                                             nvmlFieldValue_t *values);
EXPORT nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t handle, int count,
                                             nvmlFieldValue_t *values) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    nvmlReturn_t result = hcs_nvml_enter(handle, &scenario, &device);
    if (result != NVML_SUCCESS)
        return result;
    if (count <= 0 || !values)
        result = NVML_ERROR_INVALID_ARGUMENT;
    for (int i = 0; i < count && result == NVML_SUCCESS; i++) { /* each has its own result */
        values[i].timestamp = now_us();
        values[i].latencyUsec = 0;
        values[i].nvmlReturn = put_field(&values[i], scenario, device);
    }
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- Processes ------------------------------------------------------------------------------- */

EXPORT nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t handle, unsigned *count,
                                                            nvmlProcessInfo_t *infos);
EXPORT nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t handle, unsigned *count,
                                                            nvmlProcessInfo_t *infos) {
    struct hcs_sim_card_process processes[HCS_SIM_PROCESSES_MAX];
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    nvmlReturn_t result = hcs_nvml_enter(handle, &scenario, &device);
    if (result != NVML_SUCCESS)
        return result;
    unsigned number = device->number;
    hcs_sim_scenario_release(scenario);
    if (!count || (*count && !infos))
        return NVML_ERROR_INVALID_ARGUMENT;
    unsigned room = *count;
    *count = (unsigned)hcs_sim_processes_of(number, processes);
    if (*count > room)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < *count; i++)
        infos[i] = (nvmlProcessInfo_t){.pid = processes[i].pid,
                                       .usedGpuMemory = processes[i].used_bytes,
                                       .gpuInstanceId = NVML_NO_INSTANCE,
                                       .computeInstanceId = NVML_NO_INSTANCE};
    return NVML_SUCCESS;
}
