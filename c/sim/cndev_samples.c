/* Simulated libcndev.so: what a card does at the moment, and what its driver counts. */
#include "cndev.h"

#include "card_processes.h"

#define MILLIWATTS_PER_WATT 1000

/* --- Load, power, heat, clocks --------------------------------------------------------------- */

EXPORT cndevRet_t cndevGetDeviceUtilizationInfo(cndevUtilizationInfo_t *info, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetDeviceUtilizationInfo(cndevUtilizationInfo_t *info,
                                                cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, info ? &info->version : NULL, &scenario, &device);
    if (result == CNDEV_SUCCESS)
        *info = (cndevUtilizationInfo_t){
            .version = CNDEV_VERSION_6,
            .averageCoreUtilization = (int32_t)device->utilization_percent};
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT cndevRet_t cndevGetDevicePowerInfo(cndevDevicePowerInfo_t *info, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetDevicePowerInfo(cndevDevicePowerInfo_t *info, cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result = hcs_cndev_enter(handle, info, &scenario, &device);
    if (result == CNDEV_SUCCESS)
        *info = (cndevDevicePowerInfo_t){.usage =
                                             (int32_t)(device->power_mw / MILLIWATTS_PER_WATT)};
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT cndevRet_t cndevGetTemperatureInfo(cndevTemperatureInfo_t *info, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetTemperatureInfo(cndevTemperatureInfo_t *info, cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, info ? &info->version : NULL, &scenario, &device);
    if (result == CNDEV_SUCCESS)
        *info = (cndevTemperatureInfo_t){.version = CNDEV_VERSION_6,
                                         .board = device->temperature_c,
                                         .cluster = {device->temperature_c},
                                         .chip = device->temperature_c,
                                         .memory = device->memory_temperature_c};
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT cndevRet_t cndevGetFrequencyInfo(cndevFrequencyInfo_t *info, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetFrequencyInfo(cndevFrequencyInfo_t *info, cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, info ? &info->version : NULL, &scenario, &device);
    if (result == CNDEV_SUCCESS)
        *info = (cndevFrequencyInfo_t){.version = CNDEV_VERSION_6,
                                       .boardFreq = (int32_t)device->core_clock_mhz,
                                       .ddrFreq = (int32_t)device->memory_clock_mhz,
                                       .boardDefaultFreq = (int32_t)device->core_clock_max_mhz};
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT cndevRet_t cndevGetPerformanceThrottleReason(cndevPerformanceThrottleReason_t *info,
                                                    cndevDevice_t handle);
EXPORT cndevRet_t cndevGetPerformanceThrottleReason(cndevPerformanceThrottleReason_t *info,
                                                    cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, info ? &info->version : NULL, &scenario, &device);
    if (result != CNDEV_SUCCESS)
        return result;
    *info = (cndevPerformanceThrottleReason_t){.version = CNDEV_VERSION_6};
    switch (device->throttle) {
    case HCS_SIM_THROTTLE_NONE: break;
    case HCS_SIM_THROTTLE_POWER: info->tdp = CNDEV_FEATURE_ENABLED; break;
    case HCS_SIM_THROTTLE_THERMAL: info->thermalSlowdown = CNDEV_FEATURE_ENABLED; break;
    case HCS_SIM_THROTTLE_HARDWARE: info->powerBrake = CNDEV_FEATURE_ENABLED; break;
    case HCS_SIM_THROTTLE_OTHER: info->clockSetting = CNDEV_FEATURE_ENABLED; break;
    }
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- PCIe ------------------------------------------------------------------------------------ */

EXPORT cndevRet_t cndevGetCurrentPCIInfo(cndevCurrentPCIInfo_t *info, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetCurrentPCIInfo(cndevCurrentPCIInfo_t *info, cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, info ? &info->version : NULL, &scenario, &device);
    if (result == CNDEV_SUCCESS) {
        info->currentSpeed = (int32_t)device->pcie_generation;
        info->currentWidth = (int32_t)device->pcie_width;
    }
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT cndevRet_t cndevGetPcieReplayCounter(cndevPcieReplayCounter_t *count, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetPcieReplayCounter(cndevPcieReplayCounter_t *count, cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, count ? &count->version : NULL, &scenario, &device);
    if (result == CNDEV_SUCCESS)
        count->counter = (uint32_t)device->pcie_replays;
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- Memory errors --------------------------------------------------------------------------- */

EXPORT cndevRet_t cndevGetMemEccCounter(cndevMemEccCounter_t *count, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetMemEccCounter(cndevMemEccCounter_t *count, cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, count ? &count->version : NULL, &scenario, &device);
    if (result == CNDEV_SUCCESS)
        *count = (cndevMemEccCounter_t){
            .version = CNDEV_VERSION_6,
            .volatileDramEccSbeCounter = (uint32_t)device->ecc_corrected,
            .volatileDramEccDbeCounter = (uint32_t)device->ecc_uncorrected,
            .aggregateDramEccSbeCounter = device->ecc_corrected,
            .aggregateDramEccDbeCounter = device->ecc_uncorrected};
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT cndevRet_t cndevGetECCInfo(cndevECCInfo_t *info, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetECCInfo(cndevECCInfo_t *info, cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, info ? &info->version : NULL, &scenario, &device);
    if (result == CNDEV_SUCCESS)
        *info = (cndevECCInfo_t){.version = CNDEV_VERSION_6,
                                 .oneBitError = device->ecc_corrected,
                                 .multipleError = device->ecc_uncorrected,
                                 .correctedError = device->ecc_corrected,
                                 .uncorrectedError = device->ecc_uncorrected,
                                 .totalError = device->ecc_corrected + device->ecc_uncorrected};
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- MLU-Link errors: the scenario counts them per card, the card's first port has them ------- */

EXPORT cndevRet_t cndevGetMLULinkErrorCounter(cndevMLULinkErrorCounter_t *count,
                                              cndevDevice_t handle, int32_t port);
EXPORT cndevRet_t cndevGetMLULinkErrorCounter(cndevMLULinkErrorCounter_t *count,
                                              cndevDevice_t handle, int32_t port) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result = hcs_cndev_enter(handle, count, &scenario, &device);
    if (result != CNDEV_SUCCESS)
        return result;
    if (hcs_cndev_has_port(scenario, device, port))
        *count = (cndevMLULinkErrorCounter_t){.rxBadFcsPkt = port ? 0 : device->link_errors};
    else
        result = CNDEV_ERROR_INVALID_LINK;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT cndevRet_t cndevGetMLULinkCounter(cndevMLULinkCounter_t *count, cndevDevice_t handle,
                                         int32_t port);
EXPORT cndevRet_t cndevGetMLULinkCounter(cndevMLULinkCounter_t *count, cndevDevice_t handle,
                                         int32_t port) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, count ? &count->version : NULL, &scenario, &device);
    if (result != CNDEV_SUCCESS)
        return result;
    if (hcs_cndev_has_port(scenario, device, port))
        *count = (cndevMLULinkCounter_t){.version = CNDEV_VERSION_6,
                                         .errReplay = port ? 0 : device->link_errors};
    else
        result = CNDEV_ERROR_INVALID_LINK;
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- Processes: the caller says the version in the first of its structures -------------------- */

EXPORT cndevRet_t cndevGetProcessInfo(uint32_t *count, cndevProcessInfo_t *infos,
                                      cndevDevice_t handle);
EXPORT cndevRet_t cndevGetProcessInfo(uint32_t *count, cndevProcessInfo_t *infos,
                                      cndevDevice_t handle) {
    struct hcs_sim_card_process processes[HCS_SIM_PROCESSES_MAX];
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, infos ? &infos->version : NULL, &scenario, &device);
    if (result != CNDEV_SUCCESS)
        return result;
    unsigned number = device->number;
    hcs_sim_scenario_release(scenario);
    if (!count)
        return CNDEV_ERROR_INVALID_ARGUMENT;
    uint32_t room = *count;
    *count = (uint32_t)hcs_sim_processes_of(number, processes);
    if (*count > room)
        return CNDEV_ERROR_INSUFFICIENT_SPACE;
    for (uint32_t i = 0; i < *count; i++)
        infos[i] = (cndevProcessInfo_t){.version = CNDEV_VERSION_6,
                                        .pid = processes[i].pid,
                                        .physicalMemoryUsed = processes[i].used_bytes / 1024,
                                        .virtualMemoryUsed = processes[i].used_bytes / 1024};
    return CNDEV_SUCCESS;
}
