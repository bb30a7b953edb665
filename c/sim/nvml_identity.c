/* Simulated libnvidia-ml.so.1: what a card is, where it sits, and the versions around it.
 *
 * The scenario names models and driver versions; what follows from them (cores, the CUDA version
 * that a driver serves) is in the two tables here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nvml.h"

#define SERIAL_BYTES 30 /* NVML_DEVICE_SERIAL_BUFFER_SIZE */
#define CPUS_PER_NUMA_NODE 48U

struct model {
    const char *name;
    int major, minor; /* compute capability */
    unsigned cores;   /* FP32, as the data sheets count them */
};

static const struct model MODELS[] = {
    {"Tesla V100-SXM2-16GB", 7, 0, 5120},     {"Tesla V100-SXM2-32GB", 7, 0, 5120},
    {"Tesla V100-PCIE-16GB", 7, 0, 5120},     {"Tesla V100-PCIE-32GB", 7, 0, 5120},
    {"Tesla T4", 7, 5, 2560},                 {"NVIDIA A100-SXM4-40GB", 8, 0, 6912},
    {"NVIDIA A100-SXM4-80GB", 8, 0, 6912},    {"NVIDIA A100-PCIE-40GB", 8, 0, 6912},
    {"NVIDIA A100 80GB PCIe", 8, 0, 6912},    {"NVIDIA A800-SXM4-80GB", 8, 0, 6912},
    {"NVIDIA A800 80GB PCIe", 8, 0, 6912},    {"NVIDIA A30", 8, 0, 3584},
    {"NVIDIA A10", 8, 6, 9216},               {"NVIDIA A40", 8, 6, 10752},
    {"NVIDIA L4", 8, 9, 7424},                {"NVIDIA L20", 8, 9, 11776},
    {"NVIDIA L40S", 8, 9, 18176},             {"NVIDIA GeForce RTX 4090", 8, 9, 16384},
    {"NVIDIA GeForce GTX 1660", 7, 5, 1408},  {"NVIDIA H100 80GB HBM3", 9, 0, 16896},
    {"NVIDIA H100 PCIe", 9, 0, 14592},        {"NVIDIA H100 NVL", 9, 0, 16896},
    {"NVIDIA H200", 9, 0, 16896},             {"NVIDIA H800", 9, 0, 16896},
    {"NVIDIA H800 PCIe", 9, 0, 14592},        {"NVIDIA H20", 9, 0, 9984},
    {"NVIDIA H20-3e", 9, 0, 9984},            {NULL, 0, 0, 0},
};

struct branch {
    unsigned long driver; /* the first of its branch */
    int cuda;             /* 1000 * major + 10 * minor */
};

static const struct branch BRANCHES[] = { /* newest first */
    {580, 13000}, {575, 12090}, {570, 12080}, {565, 12070}, {560, 12060}, {555, 12050},
    {550, 12040}, {545, 12030}, {535, 12020}, {530, 12010}, {525, 12000}, {520, 11080},
    {515, 11070}, {510, 11060}, {495, 11050}, {470, 11040}, {460, 11020}, {450, 11000},
    {0, 10020}, /* whatever is older */
};

/* The newest CUDA that a driver serves. */
static int cuda_of(const char *driver) {
    unsigned long major = strtoul(driver, NULL, 10);
    const struct branch *branch = BRANCHES;
    while (branch->driver > major)
        branch++;
    return branch->cuda;
}

/* --- Versions -------------------------------------------------------------------------------- */

EXPORT nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned length);
EXPORT nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned length) {
    const struct hcs_sim_scenario *scenario;
    nvmlReturn_t result = hcs_nvml_acquire(&scenario);
    if (result == NVML_SUCCESS)
        result = hcs_nvml_copy_text(version, length, scenario->nvidia_driver);
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned length);
EXPORT nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned length) {
    const struct hcs_sim_scenario *scenario;
    nvmlReturn_t result = hcs_nvml_acquire(&scenario);
    if (result != NVML_SUCCESS)
        return result;
    char text[HCS_SIM_TEXT_MAX + 16];
    snprintf(text, sizeof text, "%d.%s", cuda_of(scenario->nvidia_driver) / 1000,
             scenario->nvidia_driver);
    hcs_sim_scenario_release(scenario);
    return hcs_nvml_copy_text(version, length, text);
}

EXPORT nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version);
EXPORT nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version) {
    const struct hcs_sim_scenario *scenario;
    nvmlReturn_t result = hcs_nvml_acquire(&scenario);
    if (result != NVML_SUCCESS)
        return result;
    int cuda = cuda_of(scenario->nvidia_driver);
    hcs_sim_scenario_release(scenario);
    if (!version)
        return NVML_ERROR_INVALID_ARGUMENT;
    *version = cuda;
    return NVML_SUCCESS;
}

/* --- Identity -------------------------------------------------------------------------------- */

enum text { TEXT_NAME, TEXT_UUID, TEXT_SERIAL, TEXT_VBIOS };

/* The serial number of the board; NVML's are 13 digits. A scenario that names none has the card's
 * id there, which no such buffer holds: then it is made from it. */
static void put_serial(const struct hcs_sim_device *device, char out[SERIAL_BYTES]) {
    unsigned long long hash = 14695981039346656037ULL; /* FNV-1a */
    for (const char *c = device->id; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211ULL;
    if (strlen(device->serial) < SERIAL_BYTES && strcmp(device->serial, device->id))
        strcpy(out, device->serial);
    else
        snprintf(out, SERIAL_BYTES, "%013llu", hash % 10000000000000ULL);
}

static nvmlReturn_t device_text(nvmlDevice_t handle, enum text which, char *out, unsigned length) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    nvmlReturn_t result = hcs_nvml_enter(handle, &scenario, &device);
    if (result != NVML_SUCCESS)
        return result;
    char serial[SERIAL_BYTES];
    put_serial(device, serial);
    const char *const texts[] = {device->model, device->id, serial, device->firmware};
    if (which == TEXT_VBIOS && !device->firmware[0])
        result = NVML_ERROR_NOT_SUPPORTED;
    else
        result = hcs_nvml_copy_text(out, length, texts[which]);
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

EXPORT nvmlReturn_t nvmlDeviceGetVbiosVersion(nvmlDevice_t handle, char *version, unsigned length);
EXPORT nvmlReturn_t nvmlDeviceGetVbiosVersion(nvmlDevice_t handle, char *version, unsigned length) {
    return device_text(handle, TEXT_VBIOS, version, length);
}

EXPORT nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t handle, unsigned *index);
EXPORT nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t handle, unsigned *index) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    nvmlReturn_t result = hcs_nvml_enter(handle, &scenario, &device);
    if (result != NVML_SUCCESS)
        return result;
    unsigned found = hcs_sim_index_of(scenario, device);
    hcs_sim_scenario_release(scenario);
    if (!index)
        return NVML_ERROR_INVALID_ARGUMENT;
    *index = found;
    return NVML_SUCCESS;
}

static nvmlReturn_t model_of(nvmlDevice_t handle, const struct model **model) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    nvmlReturn_t result = hcs_nvml_enter(handle, &scenario, &device);
    if (result != NVML_SUCCESS)
        return result;
    const struct model *known = MODELS;
    while (known->name && strcmp(known->name, device->model))
        known++;
    hcs_sim_scenario_release(scenario);
    *model = known;
    return known->name ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
}

EXPORT nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t handle, int *major,
                                                       int *minor);
EXPORT nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t handle, int *major,
                                                       int *minor) {
    const struct model *model;
    nvmlReturn_t result = model_of(handle, &model);
    if (result != NVML_SUCCESS)
        return result;
    if (!major || !minor)
        return NVML_ERROR_INVALID_ARGUMENT;
    *major = model->major;
    *minor = model->minor;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetNumGpuCores(nvmlDevice_t handle, unsigned *cores);
EXPORT nvmlReturn_t nvmlDeviceGetNumGpuCores(nvmlDevice_t handle, unsigned *cores) {
    const struct model *model;
    nvmlReturn_t result = model_of(handle, &model);
    if (result != NVML_SUCCESS)
        return result;
    if (!cores)
        return NVML_ERROR_INVALID_ARGUMENT;
    *cores = model->cores;
    return NVML_SUCCESS;
}

/* --- Place in the machine -------------------------------------------------------------------- */

/* Set `count` bits from `first` on in a mask of `size` words. */
static nvmlReturn_t put_mask(unsigned long *mask, unsigned size, unsigned first, unsigned count) {
    const unsigned bits = 8 * sizeof *mask;
    if (!mask || size == 0)
        return NVML_ERROR_INVALID_ARGUMENT;
    if ((first + count - 1) / bits >= size)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    memset(mask, 0, size * sizeof *mask);
    for (unsigned bit = first; bit < first + count; bit++)
        mask[bit / bits] |= 1UL << (bit % bits);
    return NVML_SUCCESS;
}

static nvmlReturn_t numa_of(nvmlDevice_t handle, unsigned *numa) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    nvmlReturn_t result = hcs_nvml_enter(handle, &scenario, &device);
    if (result != NVML_SUCCESS)
        return result;
    if (device->numa < 0)
        result = NVML_ERROR_NOT_SUPPORTED;
    *numa = (unsigned)device->numa;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryAffinity(nvmlDevice_t handle, unsigned size,
                                                unsigned long *nodes, unsigned scope);
EXPORT nvmlReturn_t nvmlDeviceGetMemoryAffinity(nvmlDevice_t handle, unsigned size,
                                                unsigned long *nodes, unsigned scope) {
    unsigned numa;
    nvmlReturn_t result = numa_of(handle, &numa);
    if (result == NVML_SUCCESS && scope > 1)
        result = NVML_ERROR_INVALID_ARGUMENT;
    return result == NVML_SUCCESS ? put_mask(nodes, size, numa, 1) : result;
}

EXPORT nvmlReturn_t nvmlDeviceGetCpuAffinity(nvmlDevice_t handle, unsigned size,
                                             unsigned long *cpus);
EXPORT nvmlReturn_t nvmlDeviceGetCpuAffinity(nvmlDevice_t handle, unsigned size,
                                             unsigned long *cpus) {
    unsigned numa;
    nvmlReturn_t result = numa_of(handle, &numa);
    if (result != NVML_SUCCESS)
        return result;
    return put_mask(cpus, size, numa * CPUS_PER_NUMA_NODE, CPUS_PER_NUMA_NODE);
}
