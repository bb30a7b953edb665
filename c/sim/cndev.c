/* Simulated libcndev.so: lifetime, enumeration, identity, memory, MLU-Link.
 *
 * A handle is the card's index. A card that has fallen off the bus keeps it and answers IN_PROBLEM
 * to everything.
 */
#include "cndev.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define BYTES_PER_MB (1024LL * 1024LL)
#define CORES 16              /* of each simulated card */
#define CPUS_PER_NUMA_NODE 32 /* of the simulated machine */
#define WORD_BITS 32
#define AFFINITY_WORDS (sizeof((cndevAffinity_t *)0)->cpuAffinityBitMap / sizeof(uint32_t))
#define UUID_PREFIX "MLU-" /* how a card is named beside other vendors'; not part of the UUID */

static atomic_uint init_count;

/* --- Lifetime -------------------------------------------------------------------------------- */

/* Acquire a snapshot in which the driver is loaded, or NULL. */
static const struct hcs_sim_scenario *acquire_loaded(void) {
    const struct hcs_sim_scenario *scenario = hcs_sim_scenario_acquire();
    if (!scenario || !scenario->driver_down[HCS_SIM_CAMBRICON])
        return scenario;
    hcs_sim_scenario_release(scenario);
    return NULL;
}

EXPORT cndevRet_t cndevInit(int32_t reserved);
EXPORT cndevRet_t cndevInit(int32_t reserved) {
    if (reserved != 0)
        return CNDEV_ERROR_INVALID_ARGUMENT;
    const struct hcs_sim_scenario *scenario = acquire_loaded();
    if (!scenario)
        return CNDEV_ERROR_NO_DRIVER;
    hcs_sim_scenario_release(scenario);
    init_count++;
    return CNDEV_SUCCESS;
}

EXPORT cndevRet_t cndevRelease(void);
EXPORT cndevRet_t cndevRelease(void) {
    unsigned count = init_count;
    do {
        if (count == 0)
            return CNDEV_ERROR_UNINITIALIZED;
    } while (!atomic_compare_exchange_weak(&init_count, &count, count - 1));
    if (count == 1)
        hcs_cndev_events_reset();
    return CNDEV_SUCCESS;
}

EXPORT const char *cndevGetErrorString(cndevRet_t result);
EXPORT const char *cndevGetErrorString(cndevRet_t result) {
    switch (result) {
    case CNDEV_SUCCESS: return "No error";
    case CNDEV_ERROR_NO_DRIVER: return "No Driver";
    case CNDEV_ERROR_UNSUPPORTED_API_VERSION: return "Unsupported API Version";
    case CNDEV_ERROR_UNINITIALIZED: return "Uninitialized";
    case CNDEV_ERROR_INVALID_ARGUMENT: return "Invalid Argument";
    case CNDEV_ERROR_INVALID_DEVICE_ID: return "Invalid Device ID";
    case CNDEV_ERROR_INSUFFICIENT_SPACE: return "Insufficient Space";
    case CNDEV_ERROR_NOT_SUPPORTED: return "Not Supported";
    case CNDEV_ERROR_INVALID_LINK: return "Invalid Link";
    case CNDEV_ERROR_TIMEOUT: return "Timeout";
    case CNDEV_ERROR_IN_PROBLEM: return "In Problem";
    }
    return "Unknown Error";
}

cndevRet_t hcs_cndev_acquire(const struct hcs_sim_scenario **scenario) {
    *scenario = NULL;
    if (!init_count)
        return CNDEV_ERROR_UNINITIALIZED;
    *scenario = acquire_loaded();
    return *scenario ? CNDEV_SUCCESS : CNDEV_ERROR_NO_DRIVER;
}

cndevRet_t hcs_cndev_enter(cndevDevice_t handle, const void *out,
                           const struct hcs_sim_scenario **scenario,
                           const struct hcs_sim_device **device) {
    cndevRet_t result = hcs_cndev_acquire(scenario);
    if (result != CNDEV_SUCCESS)
        return result;
    *device = handle < 0 ? NULL
                         : hcs_sim_device_at(*scenario, HCS_SIM_CAMBRICON, (unsigned)handle);
    if (*device && (*device)->hangs) {
        unsigned number = (*device)->number;
        hcs_sim_scenario_release(*scenario);
        hcs_sim_device_wait(number);
        return hcs_cndev_enter(handle, out, scenario, device);
    }
    if (!*device)
        result = CNDEV_ERROR_INVALID_DEVICE_ID;
    else if (!out)
        result = CNDEV_ERROR_INVALID_ARGUMENT;
    else if (!(*device)->present)
        result = CNDEV_ERROR_IN_PROBLEM;
    if (result != CNDEV_SUCCESS) {
        hcs_sim_scenario_release(*scenario);
        *scenario = NULL;
    }
    return result;
}

cndevRet_t hcs_cndev_enter_versioned(cndevDevice_t handle, const int32_t *version,
                                     const struct hcs_sim_scenario **scenario,
                                     const struct hcs_sim_device **device) {
    cndevRet_t result = hcs_cndev_enter(handle, version, scenario, device);
    if (result != CNDEV_SUCCESS || *version == CNDEV_VERSION_6)
        return result;
    hcs_sim_scenario_release(*scenario);
    *scenario = NULL;
    return CNDEV_ERROR_UNSUPPORTED_API_VERSION;
}

EXPORT cndevRet_t cndevGetLibVersion(cndevLibVersionInfo_t *info);
EXPORT cndevRet_t cndevGetLibVersion(cndevLibVersionInfo_t *info) {
    if (!info)
        return CNDEV_ERROR_INVALID_ARGUMENT;
    if (info->version != CNDEV_VERSION_6)
        return CNDEV_ERROR_UNSUPPORTED_API_VERSION;
    info->libMajorVersion = CNDEV_VERSION_6;
    info->libMinorVersion = info->libBuildVersion = 0;
    return CNDEV_SUCCESS;
}

/* --- Enumeration and identity ---------------------------------------------------------------- */

EXPORT cndevRet_t cndevGetDeviceCount(cndevCardInfo_t *info);
EXPORT cndevRet_t cndevGetDeviceCount(cndevCardInfo_t *info) {
    const struct hcs_sim_scenario *scenario;
    cndevRet_t result = hcs_cndev_acquire(&scenario);
    if (result != CNDEV_SUCCESS)
        return result;
    if (!info)
        result = CNDEV_ERROR_INVALID_ARGUMENT;
    else if (info->version != CNDEV_VERSION_6)
        result = CNDEV_ERROR_UNSUPPORTED_API_VERSION;
    else
        info->number = hcs_sim_device_count(scenario, HCS_SIM_CAMBRICON);
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT cndevRet_t cndevGetDeviceHandleByIndex(int32_t index, cndevDevice_t *handle);
EXPORT cndevRet_t cndevGetDeviceHandleByIndex(int32_t index, cndevDevice_t *handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result = hcs_cndev_enter(index, handle, &scenario, &device);
    if (result == CNDEV_SUCCESS)
        *handle = index;
    hcs_sim_scenario_release(scenario);
    return result;
}

static void put_uuid(uint8_t out[CNDEV_UUID_SIZE], const struct hcs_sim_device *device) {
    const char *uuid = device->id;
    if (!strncmp(uuid, UUID_PREFIX, sizeof UUID_PREFIX - 1))
        uuid += sizeof UUID_PREFIX - 1;
    snprintf((char *)out, CNDEV_UUID_SIZE, "%.*s", CNDEV_UUID_SIZE - 1, uuid);
}

EXPORT cndevRet_t cndevGetUUID(cndevUUID_t *info, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetUUID(cndevUUID_t *info, cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, info ? &info->version : NULL, &scenario, &device);
    if (result == CNDEV_SUCCESS) {
        put_uuid(info->uuid, device);
        info->ncsUUID64 = 0;
    }
    hcs_sim_scenario_release(scenario);
    return result;
}

/* The text stays valid on this thread until its next call. */
EXPORT const char *cndevGetCardNameStringByDevId(cndevDevice_t handle);
EXPORT const char *cndevGetCardNameStringByDevId(cndevDevice_t handle) {
    static _Thread_local char name[HCS_SIM_TEXT_MAX];
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    if (hcs_cndev_enter(handle, name, &scenario, &device) != CNDEV_SUCCESS)
        return NULL;
    memcpy(name, device->model, sizeof name);
    hcs_sim_scenario_release(scenario);
    return name;
}

EXPORT cndevRet_t cndevGetVersionInfo(cndevVersionInfo_t *info, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetVersionInfo(cndevVersionInfo_t *info, cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, info ? &info->version : NULL, &scenario, &device);
    if (result == CNDEV_SUCCESS) {
        *info = (cndevVersionInfo_t){.version = CNDEV_VERSION_6};
        (void)sscanf(scenario->cambricon_driver, "%u.%u.%u", &info->driverMajorVersion,
                     &info->driverMinorVersion, &info->driverBuildVersion);
        (void)sscanf(device->firmware, "%u.%u.%u", &info->mcuMajorVersion, &info->mcuMinorVersion,
                     &info->mcuBuildVersion);
    }
    hcs_sim_scenario_release(scenario);
    return result;
}

/* A serial number has 64 bits: the first 16 hexadecimal digits of the scenario's text. */
static uint64_t serial_number(const char *text) {
    char digits[17];
    size_t count = 0;
    unsigned long long number = 0;
    for (; *text && count < sizeof digits - 1; text++)
        if (isxdigit((unsigned char)*text))
            digits[count++] = *text;
    digits[count] = '\0';
    (void)sscanf(digits, "%llx", &number);
    return number;
}

EXPORT cndevRet_t cndevGetCardSN(cndevCardSN_t *info, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetCardSN(cndevCardSN_t *info, cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, info ? &info->version : NULL, &scenario, &device);
    if (result == CNDEV_SUCCESS)
        *info = (cndevCardSN_t){.version = CNDEV_VERSION_6, .sn = serial_number(device->serial)};
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT cndevRet_t cndevGetCoreCount(cndevCardCoreCount_t *info, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetCoreCount(cndevCardCoreCount_t *info, cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, info ? &info->version : NULL, &scenario, &device);
    if (result == CNDEV_SUCCESS)
        info->count = CORES;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT cndevRet_t cndevGetPCIeInfoV2(cndevPCIeInfoV2_t *info, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetPCIeInfoV2(cndevPCIeInfoV2_t *info, cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result = hcs_cndev_enter(handle, info, &scenario, &device);
    if (result == CNDEV_SUCCESS)
        *info = (cndevPCIeInfoV2_t){.vendor = CNDEV_PCI_VENDOR,
                                    .domain = device->pci_domain,
                                    .bus = device->pci_bus,
                                    .device = device->pci_device,
                                    .function = device->pci_function};
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT cndevRet_t cndevGetNUMANodeIdByDevId(cndevNUMANodeId_t *info, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetNUMANodeIdByDevId(cndevNUMANodeId_t *info, cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, info ? &info->version : NULL, &scenario, &device);
    if (result == CNDEV_SUCCESS)
        info->nodeId = device->numa;
    hcs_sim_scenario_release(scenario);
    return result;
}

/* As many CPUs as there are up to the last one of the card's node; its own are the near ones. */
static void fill_affinity(cndevAffinity_t *info, unsigned node) {
    _Static_assert(CPUS_PER_NUMA_NODE == WORD_BITS, "a node's CPUs are one word of the map");
    *info = (cndevAffinity_t){.version = CNDEV_VERSION_6,
                              .cpuCount = (node + 1) * CPUS_PER_NUMA_NODE};
    info->cpuAffinityBitMap[0] = UINT32_MAX;
}

EXPORT cndevRet_t cndevGetDeviceAffinity(cndevAffinity_t *info, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetDeviceAffinity(cndevAffinity_t *info, cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, info ? &info->version : NULL, &scenario, &device);
    if (result != CNDEV_SUCCESS)
        return result;
    if (device->numa < 0 || (size_t)device->numa >= AFFINITY_WORDS)
        result = CNDEV_ERROR_NOT_SUPPORTED;
    else
        fill_affinity(info, (unsigned)device->numa);
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT cndevRet_t cndevGetMaxPCIInfo(cndevPCIInfo_t *info, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetMaxPCIInfo(cndevPCIInfo_t *info, cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, info ? &info->version : NULL, &scenario, &device);
    if (result == CNDEV_SUCCESS) {
        info->maxSpeed = (int32_t)device->pcie_generation_max;
        info->maxWidth = (int32_t)device->pcie_width_max;
    }
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT cndevRet_t cndevGetMemoryUsageV2(cndevMemoryInfoV2_t *info, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetMemoryUsageV2(cndevMemoryInfoV2_t *info, cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result = hcs_cndev_enter(handle, info, &scenario, &device);
    if (result == CNDEV_SUCCESS)
        *info = (cndevMemoryInfoV2_t){
            .physicalMemoryTotal = (int64_t)device->vram_bytes / BYTES_PER_MB,
            .physicalMemoryUsed = (int64_t)device->memory_used_bytes / BYTES_PER_MB};
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT cndevRet_t cndevGetDDRInfo(cndevDDRInfo_t *info, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetDDRInfo(cndevDDRInfo_t *info, cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, info ? &info->version : NULL, &scenario, &device);
    if (result != CNDEV_SUCCESS)
        return result;
    if (device->memory_bandwidth_gbytes_s)
        *info = (cndevDDRInfo_t){.version = CNDEV_VERSION_6,
                                 .bandWidth = device->memory_bandwidth_gbytes_s};
    else
        result = CNDEV_ERROR_NOT_SUPPORTED;
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- MLU-Link -------------------------------------------------------------------------------- */

/* A card's ports are the lanes of its links, link after link. Return how many there are; store the
 * link that has port `wanted`, and the card at its other end. */
static int find_port(const struct hcs_sim_scenario *scenario, unsigned number, int wanted,
                     const struct hcs_sim_link **found, const struct hcs_sim_device **peer) {
    int ports = 0;
    *found = NULL;
    for (size_t i = 0; i < scenario->link_count; i++) {
        const struct hcs_sim_link *link = &scenario->links[i];
        if (link->type != HCS_SIM_MLU_LINK || (link->a != number && link->b != number))
            continue;
        if (wanted >= ports && wanted - ports < (int)link->lanes) {
            *found = link;
            *peer = &scenario->devices[link->a == number ? link->b : link->a];
        }
        ports += (int)link->lanes;
    }
    return ports;
}

bool hcs_cndev_has_port(const struct hcs_sim_scenario *scenario,
                        const struct hcs_sim_device *device, int port) {
    const struct hcs_sim_link *link;
    const struct hcs_sim_device *peer;
    find_port(scenario, device->number, port, &link, &peer);
    return link != NULL;
}

EXPORT int32_t cndevGetMLULinkPortNumber(cndevDevice_t handle);
EXPORT int32_t cndevGetMLULinkPortNumber(cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device, *peer;
    const struct hcs_sim_link *link;
    if (hcs_cndev_enter(handle, &link, &scenario, &device) != CNDEV_SUCCESS)
        return 0;
    int ports = find_port(scenario, device->number, -1, &link, &peer);
    hcs_sim_scenario_release(scenario);
    return ports;
}

EXPORT cndevRet_t cndevGetMLULinkStatusV2(cndevMLULinkStatusV2_t *status, cndevDevice_t handle,
                                          int32_t port);
EXPORT cndevRet_t cndevGetMLULinkStatusV2(cndevMLULinkStatusV2_t *status, cndevDevice_t handle,
                                          int32_t port) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device, *peer;
    const struct hcs_sim_link *link;
    cndevRet_t result = hcs_cndev_enter(handle, status, &scenario, &device);
    if (result != CNDEV_SUCCESS)
        return result;
    find_port(scenario, device->number, port, &link, &peer);
    if (link)
        *status = (cndevMLULinkStatusV2_t){.macState = link->up && peer->present
                                                           ? CNDEV_MLULINK_MAC_STATE_UP
                                                           : CNDEV_MLULINK_MAC_STATE_DOWN,
                                           .serdesState = 1,
                                           .presenceState = 1};
    else
        result = CNDEV_ERROR_INVALID_LINK;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT cndevRet_t cndevGetMLULinkRemoteInfo(cndevMLULinkRemoteInfo_t *info, cndevDevice_t handle,
                                            int32_t port);
EXPORT cndevRet_t cndevGetMLULinkRemoteInfo(cndevMLULinkRemoteInfo_t *info, cndevDevice_t handle,
                                            int32_t port) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device, *peer;
    const struct hcs_sim_link *link;
    cndevRet_t result =
        hcs_cndev_enter_versioned(handle, info ? &info->version : NULL, &scenario, &device);
    if (result != CNDEV_SUCCESS)
        return result;
    find_port(scenario, device->number, port, &link, &peer);
    if (link) {
        *info = (cndevMLULinkRemoteInfo_t){.version = CNDEV_VERSION_6};
        put_uuid(info->uuid, peer);
    } else {
        result = CNDEV_ERROR_INVALID_LINK;
    }
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- PCIe ------------------------------------------------------------------------------------ */

EXPORT cndevRet_t cndevTopologyGetRelationship(cndevTopologyRelationship_t *info, cndevDevice_t one,
                                               cndevDevice_t other);
EXPORT cndevRet_t cndevTopologyGetRelationship(cndevTopologyRelationship_t *info, cndevDevice_t one,
                                               cndevDevice_t other) {
    const cndevDevice_t handles[] = {one, other};
    int numa[2];
    for (size_t i = 0; i < 2; i++) {
        const struct hcs_sim_scenario *scenario;
        const struct hcs_sim_device *device;
        cndevRet_t result = hcs_cndev_enter_versioned(handles[i], info ? &info->version : NULL,
                                                      &scenario, &device);
        if (result != CNDEV_SUCCESS)
            return result;
        numa[i] = device->numa;
        hcs_sim_scenario_release(scenario);
    }
    if (one == other)
        return CNDEV_ERROR_INVALID_ARGUMENT;
    info->relation = numa[0] == numa[1] ? CNDEV_TOPO_HOST_BRIDGE : CNDEV_TOPO_SYSTEM;
    return CNDEV_SUCCESS;
}
