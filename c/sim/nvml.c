/* Simulated libnvidia-ml.so.1: lifetime, enumeration, memory.
 *
 * A handle stands for one card for as long as the library is loaded. A card that has fallen off the
 * bus keeps its index and answers GPU_IS_LOST to everything, as with a real driver: also when it is
 * plugged in again, until the next session. When the driver goes away the session goes with it: a
 * driver that comes back needs a new nvmlInit.
 */
#include "nvml.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_uint init_count;
static atomic_bool driver_gone; /* seen since the last nvmlInit */
static atomic_bool lost[HCS_SIM_DEVICES_MAX]; /* by device number: seen absent in this session */
static char handles[HCS_SIM_DEVICES_MAX]; /* only their addresses matter: one per device number */

/* --- Lifetime -------------------------------------------------------------------------------- */

EXPORT nvmlReturn_t nvmlInitWithFlags(unsigned flags);
EXPORT nvmlReturn_t nvmlInitWithFlags(unsigned flags) {
    (void)flags; /* NO_GPUS and NO_ATTACH change nothing that is simulated */
    const struct hcs_sim_scenario *scenario = hcs_sim_scenario_acquire();
    bool loaded = scenario && !scenario->driver_down[HCS_SIM_NVIDIA];
    hcs_sim_scenario_release(scenario);
    if (!loaded)
        return NVML_ERROR_DRIVER_NOT_LOADED;
    if (atomic_exchange(&driver_gone, false))
        hcs_nvml_events_reset();
    if (init_count++ == 0)
        for (size_t i = 0; i < HCS_SIM_DEVICES_MAX; i++)
            lost[i] = false;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlInit_v2(void);
EXPORT nvmlReturn_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

EXPORT nvmlReturn_t nvmlShutdown(void);
EXPORT nvmlReturn_t nvmlShutdown(void) {
    unsigned count = init_count;
    do {
        if (count == 0)
            return NVML_ERROR_UNINITIALIZED;
    } while (!atomic_compare_exchange_weak(&init_count, &count, count - 1));
    if (count == 1)
        hcs_nvml_events_reset();
    return NVML_SUCCESS;
}

EXPORT const char *nvmlErrorString(nvmlReturn_t result);
EXPORT const char *nvmlErrorString(nvmlReturn_t result) {
    switch (result) {
    case NVML_SUCCESS: return "The operation was successful";
    case NVML_ERROR_UNINITIALIZED: return "Uninitialized";
    case NVML_ERROR_INVALID_ARGUMENT: return "Invalid Argument";
    case NVML_ERROR_NOT_SUPPORTED: return "Not Supported";
    case NVML_ERROR_INSUFFICIENT_SIZE: return "Insufficient Size";
    case NVML_ERROR_DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case NVML_ERROR_TIMEOUT: return "Timeout";
    case NVML_ERROR_GPU_IS_LOST: return "GPU is lost";
    case NVML_ERROR_INSUFFICIENT_RESOURCES: return "Insufficient Resources";
    case NVML_ERROR_ARGUMENT_VERSION_MISMATCH: return "Argument Version Mismatch";
    }
    return "Unknown Error";
}

bool hcs_nvml_lost(const struct hcs_sim_device *device) {
    if (!device->present)
        lost[device->number] = true;
    return lost[device->number];
}

bool hcs_nvml_initialised(void) { return init_count > 0 && !driver_gone; }

int hcs_nvml_number(nvmlDevice_t handle) {
    const char *address = (const char *)handle;
    if (address < handles || address >= handles + sizeof handles)
        return -1;
    return (int)(address - handles);
}

nvmlDevice_t hcs_nvml_handle(unsigned number) { return (nvmlDevice_t)(void *)&handles[number]; }

nvmlReturn_t hcs_nvml_acquire(const struct hcs_sim_scenario **scenario) {
    *scenario = hcs_sim_scenario_acquire();
    bool loaded = *scenario && !(*scenario)->driver_down[HCS_SIM_NVIDIA];
    nvmlReturn_t result = NVML_SUCCESS;
    if (init_count == 0)
        result = NVML_ERROR_UNINITIALIZED;
    else if (!loaded)
        result = NVML_ERROR_DRIVER_NOT_LOADED;
    else if (driver_gone)
        result = NVML_ERROR_UNINITIALIZED;
    if (result == NVML_ERROR_DRIVER_NOT_LOADED)
        driver_gone = true;
    if (result != NVML_SUCCESS) {
        hcs_sim_scenario_release(*scenario);
        *scenario = NULL;
    }
    return result;
}

/* What a sick card answers to everything; success for a card that is well. */
static nvmlReturn_t refusal_of(unsigned number) {
    const char *path = getenv(HCS_SIM_NVML_REFUSALS_ENV);
    FILE *file = path ? fopen(path, "re") : NULL;
    unsigned sick, code, found = NVML_SUCCESS;
    while (file && fscanf(file, "%u %u", &sick, &code) == 2)
        if (sick == number)
            found = code;
    if (file)
        fclose(file);
    return (nvmlReturn_t)found;
}

nvmlReturn_t hcs_nvml_enter(nvmlDevice_t handle, const struct hcs_sim_scenario **scenario,
                            const struct hcs_sim_device **device) {
    int number = hcs_nvml_number(handle);
    if (number >= 0 && hcs_nvml_initialised())
        hcs_sim_device_wait((unsigned)number);
    nvmlReturn_t result = hcs_nvml_acquire(scenario);
    if (result != NVML_SUCCESS)
        return result;
    result = NVML_ERROR_INVALID_ARGUMENT;
    if (number >= 0 && (size_t)number < (*scenario)->device_count) {
        *device = &(*scenario)->devices[number];
        if ((*device)->vendor == HCS_SIM_NVIDIA)
            result = hcs_nvml_lost(*device) ? NVML_ERROR_GPU_IS_LOST : refusal_of((unsigned)number);
    }
    if (result != NVML_SUCCESS) {
        hcs_sim_scenario_release(*scenario);
        *scenario = NULL;
    }
    return result;
}

nvmlReturn_t hcs_nvml_copy_text(char *out, unsigned length, const char *text) {
    if (!out)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (strlen(text) >= length)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(out, text);
    return NVML_SUCCESS;
}

/* --- Enumeration ----------------------------------------------------------------------------- */

EXPORT nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count);
EXPORT nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count) {
    const struct hcs_sim_scenario *scenario;
    nvmlReturn_t result = hcs_nvml_acquire(&scenario);
    if (result == NVML_SUCCESS && !count)
        result = NVML_ERROR_INVALID_ARGUMENT;
    if (result == NVML_SUCCESS)
        *count = hcs_sim_device_count(scenario, HCS_SIM_NVIDIA);
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *handle);
EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *handle) {
    const struct hcs_sim_scenario *scenario;
    nvmlReturn_t result = hcs_nvml_acquire(&scenario);
    if (result != NVML_SUCCESS)
        return result;
    const struct hcs_sim_device *device = hcs_sim_device_at(scenario, HCS_SIM_NVIDIA, index);
    nvmlDevice_t found = device ? hcs_nvml_handle(device->number) : NULL;
    hcs_sim_scenario_release(scenario);
    if (!handle || !found)
        return NVML_ERROR_INVALID_ARGUMENT;
    result = hcs_nvml_enter(found, &scenario, &device);
    hcs_sim_scenario_release(scenario);
    if (result == NVML_SUCCESS)
        *handle = found;
    return result;
}

void hcs_nvml_fill_pci(nvmlPciInfo_t *out, unsigned domain, unsigned bus, unsigned device) {
    memset(out, 0, sizeof *out);
    out->domain = domain;
    out->bus = bus;
    out->device = device;
    snprintf(out->busIdLegacy, sizeof out->busIdLegacy, "%04X:%02X:%02X.0", domain & 0xFFFFU,
             bus & 0xFFU, device & 0xFFU);
    snprintf(out->busId, sizeof out->busId, "%08X:%02X:%02X.0", domain, bus, device);
}

EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t handle, nvmlPciInfo_t *pci);
EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t handle, nvmlPciInfo_t *pci) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    nvmlReturn_t result = hcs_nvml_enter(handle, &scenario, &device);
    if (result != NVML_SUCCESS)
        return result;
    if (pci) {
        hcs_nvml_fill_pci(pci, device->pci_domain, device->pci_bus, device->pci_device);
        pci->pciDeviceId = NVML_PCI_VENDOR; /* the scenario does not say which model's id */
    } else {
        result = NVML_ERROR_INVALID_ARGUMENT;
    }
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- Memory ---------------------------------------------------------------------------------- */

/* Read a card's memory; never more used than there is, whatever the scenario says. */
static nvmlReturn_t memory_of(nvmlDevice_t handle, uint64_t *total, uint64_t *used) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    nvmlReturn_t result = hcs_nvml_enter(handle, &scenario, &device);
    if (result != NVML_SUCCESS)
        return result;
    *total = device->vram_bytes;
    *used = device->memory_used_bytes < *total ? device->memory_used_bytes : *total;
    hcs_sim_scenario_release(scenario);
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t handle, nvmlMemory_t *memory);
EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t handle, nvmlMemory_t *memory) {
    uint64_t total, used;
    nvmlReturn_t result = memory_of(handle, &total, &used);
    if (result != NVML_SUCCESS)
        return result;
    if (!memory)
        return NVML_ERROR_INVALID_ARGUMENT;
    *memory = (nvmlMemory_t){.total = total, .free = total - used, .used = used};
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t handle, nvmlMemory_v2_t *memory);
EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t handle, nvmlMemory_v2_t *memory) {
    uint64_t total, used;
    nvmlReturn_t result = memory_of(handle, &total, &used);
    if (result != NVML_SUCCESS)
        return result;
    if (!memory)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (memory->version != NVML_MEMORY_V2)
        return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    memory->total = total;
    memory->reserved = 0;
    memory->free = total - used;
    memory->used = used;
    return NVML_SUCCESS;
}
