/* Simulated libnvidia-ml.so.1: lifetime, enumeration, identity, memory, field values.
 *
 * A handle stands for one card for as long as the library is loaded. A card that has fallen off the
 * bus keeps its index and answers GPU_IS_LOST to everything, as with a real driver.
 */
#include "nvml.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static atomic_uint init_count;
static char handles[HCS_SIM_DEVICES_MAX]; /* only their addresses matter: one per device number */

/* --- Lifetime -------------------------------------------------------------------------------- */

EXPORT nvmlReturn_t nvmlInitWithFlags(unsigned flags);
EXPORT nvmlReturn_t nvmlInitWithFlags(unsigned flags) {
    (void)flags; /* NO_GPUS and NO_ATTACH change nothing that is simulated */
    const struct hcs_sim_scenario *scenario = hcs_sim_scenario_acquire();
    if (!scenario)
        return NVML_ERROR_DRIVER_NOT_LOADED;
    hcs_sim_scenario_release(scenario);
    init_count++;
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

bool hcs_nvml_initialised(void) { return init_count > 0; }

int hcs_nvml_number(nvmlDevice_t handle) {
    const char *address = (const char *)handle;
    if (address < handles || address >= handles + sizeof handles)
        return -1;
    return (int)(address - handles);
}

nvmlDevice_t hcs_nvml_handle(unsigned number) { return (nvmlDevice_t)(void *)&handles[number]; }

static nvmlReturn_t acquire(const struct hcs_sim_scenario **scenario) {
    *scenario = NULL;
    if (!hcs_nvml_initialised())
        return NVML_ERROR_UNINITIALIZED;
    *scenario = hcs_sim_scenario_acquire();
    return *scenario ? NVML_SUCCESS : NVML_ERROR_DRIVER_NOT_LOADED;
}

nvmlReturn_t hcs_nvml_enter(nvmlDevice_t handle, const struct hcs_sim_scenario **scenario,
                            const struct hcs_sim_device **device) {
    nvmlReturn_t result = acquire(scenario);
    if (result != NVML_SUCCESS)
        return result;
    int number = hcs_nvml_number(handle);
    result = NVML_ERROR_INVALID_ARGUMENT;
    if (number >= 0 && (size_t)number < (*scenario)->device_count) {
        *device = &(*scenario)->devices[number];
        if ((*device)->vendor == HCS_SIM_NVIDIA)
            result = (*device)->present ? NVML_SUCCESS : NVML_ERROR_GPU_IS_LOST;
    }
    if (result != NVML_SUCCESS) {
        hcs_sim_scenario_release(*scenario);
        *scenario = NULL;
    }
    return result;
}

/* Copy a text into the caller's buffer as NVML does: whole or not at all. */
static nvmlReturn_t copy_text(char *out, unsigned length, const char *text) {
    if (!out)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (strlen(text) >= length)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(out, text);
    return NVML_SUCCESS;
}

/* --- Enumeration and identity ---------------------------------------------------------------- */

EXPORT nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned length);
EXPORT nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned length) {
    const struct hcs_sim_scenario *scenario;
    nvmlReturn_t result = acquire(&scenario);
    if (result == NVML_SUCCESS)
        result = copy_text(version, length, scenario->nvidia_driver);
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count);
EXPORT nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count) {
    const struct hcs_sim_scenario *scenario;
    nvmlReturn_t result = acquire(&scenario);
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
    nvmlReturn_t result = acquire(&scenario);
    if (result != NVML_SUCCESS)
        return result;
    const struct hcs_sim_device *device = hcs_sim_device_at(scenario, HCS_SIM_NVIDIA, index);
    if (!handle || !device)
        result = NVML_ERROR_INVALID_ARGUMENT;
    else if (!device->present)
        result = NVML_ERROR_GPU_IS_LOST;
    else
        *handle = hcs_nvml_handle(device->number);
    hcs_sim_scenario_release(scenario);
    return result;
}

enum text { TEXT_NAME, TEXT_UUID, TEXT_SERIAL };

/* The serial number of the board; NVML's are 13 digits. Made from the end of the UUID. */
static void make_serial(const struct hcs_sim_device *device, char out[30]) {
    unsigned long long hash = 14695981039346656037ULL; /* FNV-1a */
    for (const char *c = device->id; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211ULL;
    snprintf(out, 30, "%013llu", hash % 10000000000000ULL);
}

static nvmlReturn_t device_text(nvmlDevice_t handle, enum text which, char *out, unsigned length) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    nvmlReturn_t result = hcs_nvml_enter(handle, &scenario, &device);
    if (result != NVML_SUCCESS)
        return result;
    char serial[30];
    make_serial(device, serial);
    const char *text = serial;
    if (which != TEXT_SERIAL)
        text = which == TEXT_NAME ? device->model : device->id;
    result = copy_text(out, length, text);
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t handle, char *name, unsigned length);
EXPORT nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t handle, char *name, unsigned length) {
    return device_text(handle, TEXT_NAME, name, length);
}

EXPORT nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t handle, char *uuid, unsigned length);
EXPORT nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t handle, char *uuid, unsigned length) {
    return device_text(handle, TEXT_UUID, uuid, length);
}

EXPORT nvmlReturn_t nvmlDeviceGetSerial(nvmlDevice_t handle, char *serial, unsigned length);
EXPORT nvmlReturn_t nvmlDeviceGetSerial(nvmlDevice_t handle, char *serial, unsigned length) {
    return device_text(handle, TEXT_SERIAL, serial, length);
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

EXPORT nvmlReturn_t nvmlDeviceGetMemoryAffinity(nvmlDevice_t handle, unsigned size,
                                                unsigned long *nodes, unsigned scope);
EXPORT nvmlReturn_t nvmlDeviceGetMemoryAffinity(nvmlDevice_t handle, unsigned size,
                                                unsigned long *nodes, unsigned scope) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    const unsigned bits = 8 * sizeof *nodes;
    nvmlReturn_t result = hcs_nvml_enter(handle, &scenario, &device);
    if (result != NVML_SUCCESS)
        return result;
    int numa = device->numa;
    hcs_sim_scenario_release(scenario);
    if (!nodes || size == 0 || scope > 1)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (numa < 0)
        return NVML_ERROR_NOT_SUPPORTED;
    if ((unsigned)numa / bits >= size)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    memset(nodes, 0, size * sizeof *nodes);
    nodes[(unsigned)numa / bits] = 1UL << ((unsigned)numa % bits);
    return NVML_SUCCESS;
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

/* --- Field values ---------------------------------------------------------------------------- */

static int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
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
    unsigned recovery_action = device->recovery_action;
    hcs_sim_scenario_release(scenario);
    if (count <= 0 || !values)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (int i = 0; i < count; i++) { /* each field has its own result */
        values[i].timestamp = now_us();
        values[i].latencyUsec = 0;
        values[i].valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
        if (values[i].fieldId == NVML_FI_DEV_GET_GPU_RECOVERY_ACTION) {
            values[i].nvmlReturn = NVML_SUCCESS;
            values[i].value.ullVal = recovery_action;
        } else {
            values[i].nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
        }
    }
    return NVML_SUCCESS;
}
