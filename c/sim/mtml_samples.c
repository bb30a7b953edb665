/* Simulated libmtml.so.2: what a card does at the moment, and how fast its memory is.
 *
 * Every question has the same form: an object of the card, and where to store one number.
 */
#include "mtml.h"

EXPORT MtmlReturn mtmlDeviceInitGpu(MtmlDevice *object, MtmlGpu **gpu);
EXPORT MtmlReturn mtmlDeviceInitGpu(MtmlDevice *object, MtmlGpu **gpu) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    MtmlReturn result = hcs_mtml_enter(hcs_mtml_devices, object, gpu, &scenario, &device);
    if (result == MTML_SUCCESS)
        *gpu = (MtmlGpu *)(void *)&hcs_mtml_gpus[device->number];
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT MtmlReturn mtmlDeviceFreeGpu(MtmlGpu *gpu);
EXPORT MtmlReturn mtmlDeviceFreeGpu(MtmlGpu *gpu) {
    return gpu ? MTML_SUCCESS : MTML_ERROR_INVALID_ARGUMENT;
}

/* Store a field of the card behind an object, given by its offset. */
static MtmlReturn store(const MtmlObjects objects, const void *object, unsigned *out,
                        size_t field) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    MtmlReturn result = hcs_mtml_enter(objects, object, out, &scenario, &device);
    if (result == MTML_SUCCESS)
        *out = *(const unsigned *)(const void *)((const char *)device + field);
    hcs_sim_scenario_release(scenario);
    return result;
}
#define STORE(objects, object, out, field) \
    store(objects, object, out, offsetof(struct hcs_sim_device, field))

EXPORT MtmlReturn mtmlDeviceGetPowerUsage(MtmlDevice *device, unsigned *milliwatts);
EXPORT MtmlReturn mtmlDeviceGetPowerUsage(MtmlDevice *device, unsigned *milliwatts) {
    return STORE(hcs_mtml_devices, device, milliwatts, power_mw);
}

EXPORT MtmlReturn mtmlGpuGetUtilization(MtmlGpu *gpu, unsigned *percent);
EXPORT MtmlReturn mtmlGpuGetUtilization(MtmlGpu *gpu, unsigned *percent) {
    return STORE(hcs_mtml_gpus, gpu, percent, utilization_percent);
}

EXPORT MtmlReturn mtmlGpuGetTemperature(MtmlGpu *gpu, unsigned *celsius);
EXPORT MtmlReturn mtmlGpuGetTemperature(MtmlGpu *gpu, unsigned *celsius) {
    return STORE(hcs_mtml_gpus, gpu, celsius, temperature_c);
}

EXPORT MtmlReturn mtmlGpuGetClock(MtmlGpu *gpu, unsigned *mhz);
EXPORT MtmlReturn mtmlGpuGetClock(MtmlGpu *gpu, unsigned *mhz) {
    return STORE(hcs_mtml_gpus, gpu, mhz, core_clock_mhz);
}

EXPORT MtmlReturn mtmlMemoryGetClock(MtmlMemory *memory, unsigned *mhz);
EXPORT MtmlReturn mtmlMemoryGetClock(MtmlMemory *memory, unsigned *mhz) {
    return STORE(hcs_mtml_memories, memory, mhz, memory_clock_mhz);
}

EXPORT MtmlReturn mtmlMemoryGetUtilization(MtmlMemory *memory, unsigned *percent);
EXPORT MtmlReturn mtmlMemoryGetUtilization(MtmlMemory *memory, unsigned *percent) {
    return STORE(hcs_mtml_memories, memory, percent, memory_utilization_percent);
}

EXPORT MtmlReturn mtmlMemoryGetBandwidth(MtmlMemory *memory, unsigned *gbytes_s);
EXPORT MtmlReturn mtmlMemoryGetBandwidth(MtmlMemory *memory, unsigned *gbytes_s) {
    MtmlReturn result = STORE(hcs_mtml_memories, memory, gbytes_s, memory_bandwidth_gbytes_s);
    return result == MTML_SUCCESS && !*gbytes_s ? MTML_ERROR_NOT_SUPPORTED : result;
}

EXPORT MtmlReturn mtmlMemoryGetUsed(MtmlMemory *memory, unsigned long long *bytes);
EXPORT MtmlReturn mtmlMemoryGetUsed(MtmlMemory *memory, unsigned long long *bytes) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    MtmlReturn result = hcs_mtml_enter(hcs_mtml_memories, memory, bytes, &scenario, &device);
    if (result == MTML_SUCCESS)
        *bytes = device->memory_used_bytes;
    hcs_sim_scenario_release(scenario);
    return result;
}
