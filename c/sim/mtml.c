/* Simulated libmtml.so.2: lifetime, enumeration, identity, memory's size, ECC counters, MTLink.
 *
 * All objects are opaque: the library's pointer says only that it is initialised, a device's or
 * memory's pointer stands for one card for as long as the library is loaded. A card that has fallen
 * off the bus keeps its index and answers GPU_IS_LOST to everything. The volatile ECC counters
 * start again from zero when a card is reset: here, when the scenario's fault is cleared.
 */
#include "mtml.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define CODE_CORRECTED "ECC_CORRECTED"
#define CODE_UNCORRECTED "ECC_UNCORRECTED"
#define WORD_BITS (8 * sizeof(unsigned long))
#define CPUS_PER_NUMA_NODE 32 /* of the simulated machine */

/* Only their addresses matter. */
static char library_object, system_object;
MtmlObjects hcs_mtml_devices, hcs_mtml_memories, hcs_mtml_gpus;

static atomic_uint init_count;

/* --- Lifetime -------------------------------------------------------------------------------- */

/* Acquire a snapshot in which the driver is loaded, or NULL. */
static const struct hcs_sim_scenario *acquire_loaded(void) {
    const struct hcs_sim_scenario *scenario = hcs_sim_scenario_acquire();
    if (!scenario || !scenario->driver_down[HCS_SIM_MTHREADS])
        return scenario;
    hcs_sim_scenario_release(scenario);
    return NULL;
}

EXPORT MtmlReturn mtmlLibraryInit(MtmlLibrary **library);
EXPORT MtmlReturn mtmlLibraryInit(MtmlLibrary **library) {
    if (!library)
        return MTML_ERROR_INVALID_ARGUMENT;
    const struct hcs_sim_scenario *scenario = acquire_loaded();
    if (!scenario)
        return MTML_ERROR_DRIVER_NOT_LOADED;
    hcs_sim_scenario_release(scenario);
    init_count++;
    *library = (MtmlLibrary *)(void *)&library_object;
    return MTML_SUCCESS;
}

EXPORT MtmlReturn mtmlLibraryShutDown(MtmlLibrary *library);
EXPORT MtmlReturn mtmlLibraryShutDown(MtmlLibrary *library) {
    unsigned count = init_count;
    do {
        if (count == 0)
            return MTML_ERROR_UNINITIALIZED;
        if ((void *)library != &library_object)
            return MTML_ERROR_INVALID_ARGUMENT;
    } while (!atomic_compare_exchange_weak(&init_count, &count, count - 1));
    return MTML_SUCCESS;
}

EXPORT const char *mtmlErrorString(MtmlReturn result);
EXPORT const char *mtmlErrorString(MtmlReturn result) {
    switch (result) {
    case MTML_SUCCESS: return "Success";
    case MTML_ERROR_DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case MTML_ERROR_INVALID_ARGUMENT: return "Invalid Argument";
    case MTML_ERROR_NOT_SUPPORTED: return "Not Supported";
    case MTML_ERROR_INSUFFICIENT_SIZE: return "Insufficient Size";
    case MTML_ERROR_UNINITIALIZED: return "Uninitialized";
    case MTML_ERROR_GPU_IS_LOST: return "GPU is lost";
    }
    return "Unknown Error";
}

static MtmlReturn acquire(const void *object, const void *expected,
                          const struct hcs_sim_scenario **scenario) {
    *scenario = NULL;
    if (!init_count)
        return MTML_ERROR_UNINITIALIZED;
    if (object != expected)
        return MTML_ERROR_INVALID_ARGUMENT;
    *scenario = acquire_loaded();
    return *scenario ? MTML_SUCCESS : MTML_ERROR_DRIVER_NOT_LOADED;
}

MtmlReturn hcs_mtml_enter(const MtmlObjects objects, const void *object, const void *out,
                          const struct hcs_sim_scenario **scenario,
                          const struct hcs_sim_device **device) {
    const char *address = object;
    bool known = address >= objects && address < objects + HCS_SIM_DEVICES_MAX;
    if (known)
        hcs_sim_device_wait((unsigned)(address - objects));
    MtmlReturn result = acquire(NULL, NULL, scenario);
    if (result != MTML_SUCCESS)
        return result;
    result = MTML_ERROR_INVALID_ARGUMENT;
    if (out && known && address < objects + (*scenario)->device_count) {
        *device = &(*scenario)->devices[address - objects];
        if ((*device)->vendor == HCS_SIM_MTHREADS)
            result = (*device)->present ? MTML_SUCCESS : MTML_ERROR_GPU_IS_LOST;
    }
    if (result != MTML_SUCCESS) {
        hcs_sim_scenario_release(*scenario);
        *scenario = NULL;
    }
    return result;
}

static MtmlReturn copy_text(char *out, unsigned length, const char *text) {
    if (!out)
        return MTML_ERROR_INVALID_ARGUMENT;
    if (strlen(text) >= length)
        return MTML_ERROR_INSUFFICIENT_SIZE;
    strcpy(out, text);
    return MTML_SUCCESS;
}

/* --- Library and system ---------------------------------------------------------------------- */

EXPORT MtmlReturn mtmlLibraryGetVersion(MtmlLibrary *library, char *version, unsigned length);
EXPORT MtmlReturn mtmlLibraryGetVersion(MtmlLibrary *library, char *version, unsigned length) {
    const struct hcs_sim_scenario *scenario;
    MtmlReturn result = acquire(library, &library_object, &scenario);
    hcs_sim_scenario_release(scenario);
    return result == MTML_SUCCESS ? copy_text(version, length, "2.0.0") : result;
}

EXPORT MtmlReturn mtmlLibraryInitSystem(MtmlLibrary *library, MtmlSystem **system);
EXPORT MtmlReturn mtmlLibraryInitSystem(MtmlLibrary *library, MtmlSystem **system) {
    const struct hcs_sim_scenario *scenario;
    MtmlReturn result = acquire(library, &library_object, &scenario);
    hcs_sim_scenario_release(scenario);
    if (result == MTML_SUCCESS && !system)
        result = MTML_ERROR_INVALID_ARGUMENT;
    if (result == MTML_SUCCESS)
        *system = (MtmlSystem *)(void *)&system_object;
    return result;
}

EXPORT MtmlReturn mtmlLibraryFreeSystem(MtmlSystem *system);
EXPORT MtmlReturn mtmlLibraryFreeSystem(MtmlSystem *system) {
    return (void *)system == &system_object ? MTML_SUCCESS : MTML_ERROR_INVALID_ARGUMENT;
}

EXPORT MtmlReturn mtmlSystemGetDriverVersion(MtmlSystem *system, char *version, unsigned length);
EXPORT MtmlReturn mtmlSystemGetDriverVersion(MtmlSystem *system, char *version, unsigned length) {
    const struct hcs_sim_scenario *scenario;
    MtmlReturn result = acquire(system, &system_object, &scenario);
    if (result == MTML_SUCCESS)
        result = copy_text(version, length, scenario->mthreads_driver);
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT MtmlReturn mtmlLibraryCountDevice(MtmlLibrary *library, unsigned *count);
EXPORT MtmlReturn mtmlLibraryCountDevice(MtmlLibrary *library, unsigned *count) {
    const struct hcs_sim_scenario *scenario;
    MtmlReturn result = acquire(library, &library_object, &scenario);
    if (result == MTML_SUCCESS && !count)
        result = MTML_ERROR_INVALID_ARGUMENT;
    if (result == MTML_SUCCESS)
        *count = hcs_sim_device_count(scenario, HCS_SIM_MTHREADS);
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT MtmlReturn mtmlLibraryInitDeviceByIndex(MtmlLibrary *library, unsigned index,
                                               MtmlDevice **out);
EXPORT MtmlReturn mtmlLibraryInitDeviceByIndex(MtmlLibrary *library, unsigned index,
                                               MtmlDevice **out) {
    const struct hcs_sim_scenario *scenario;
    MtmlReturn result = acquire(library, &library_object, &scenario);
    if (result != MTML_SUCCESS)
        return result;
    const struct hcs_sim_device *device = hcs_sim_device_at(scenario, HCS_SIM_MTHREADS, index);
    if (device && device->hangs) {
        unsigned number = device->number;
        hcs_sim_scenario_release(scenario);
        hcs_sim_device_wait(number);
        return mtmlLibraryInitDeviceByIndex(library, index, out);
    }
    if (!device || !out)
        result = MTML_ERROR_INVALID_ARGUMENT;
    else if (!device->present)
        result = MTML_ERROR_GPU_IS_LOST;
    else
        *out = (MtmlDevice *)(void *)&hcs_mtml_devices[device->number];
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT MtmlReturn mtmlLibraryFreeDevice(MtmlDevice *device);
EXPORT MtmlReturn mtmlLibraryFreeDevice(MtmlDevice *device) {
    return device ? MTML_SUCCESS : MTML_ERROR_INVALID_ARGUMENT;
}

/* --- Identity -------------------------------------------------------------------------------- */

EXPORT MtmlReturn mtmlDeviceGetName(MtmlDevice *object, char *name, unsigned length);
EXPORT MtmlReturn mtmlDeviceGetName(MtmlDevice *object, char *name, unsigned length) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    MtmlReturn result = hcs_mtml_enter(hcs_mtml_devices, object, name, &scenario, &device);
    if (result == MTML_SUCCESS)
        result = copy_text(name, length, device->model);
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT MtmlReturn mtmlDeviceGetUUID(MtmlDevice *object, char *uuid, unsigned length);
EXPORT MtmlReturn mtmlDeviceGetUUID(MtmlDevice *object, char *uuid, unsigned length) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    MtmlReturn result = hcs_mtml_enter(hcs_mtml_devices, object, uuid, &scenario, &device);
    if (result == MTML_SUCCESS)
        result = copy_text(uuid, length, device->id);
    hcs_sim_scenario_release(scenario);
    return result;
}

/* Unlike its neighbours it takes the length first. */
EXPORT MtmlReturn mtmlDeviceGetSerialNumber(MtmlDevice *object, unsigned length, char *serial);
EXPORT MtmlReturn mtmlDeviceGetSerialNumber(MtmlDevice *object, unsigned length, char *serial) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    MtmlReturn result = hcs_mtml_enter(hcs_mtml_devices, object, serial, &scenario, &device);
    if (result == MTML_SUCCESS)
        result = copy_text(serial, length, device->serial);
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT MtmlReturn mtmlDeviceGetMtBiosVersion(MtmlDevice *object, char *version, unsigned length);
EXPORT MtmlReturn mtmlDeviceGetMtBiosVersion(MtmlDevice *object, char *version, unsigned length) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    MtmlReturn result = hcs_mtml_enter(hcs_mtml_devices, object, version, &scenario, &device);
    if (result == MTML_SUCCESS)
        result = copy_text(version, length, device->firmware);
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT MtmlReturn mtmlDeviceGetPciInfo(MtmlDevice *object, MtmlPciInfo *info);
EXPORT MtmlReturn mtmlDeviceGetPciInfo(MtmlDevice *object, MtmlPciInfo *info) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    MtmlReturn result = hcs_mtml_enter(hcs_mtml_devices, object, info, &scenario, &device);
    if (result == MTML_SUCCESS) {
        *info = (MtmlPciInfo){.segment = device->pci_domain,
                              .bus = device->pci_bus,
                              .device = device->pci_device,
                              .pciDeviceId = MTML_PCI_VENDOR,
                              .pciMaxWidth = device->pcie_width_max,
                              .pciCurWidth = device->pcie_width,
                              .pciMaxGen = device->pcie_generation_max,
                              .pciCurGen = device->pcie_generation};
        snprintf(info->sbdf, sizeof info->sbdf, "%08x:%02x:%02x.%x", device->pci_domain,
                 device->pci_bus, device->pci_device, device->pci_function);
    }
    hcs_sim_scenario_release(scenario);
    return result;
}

/* Set `count` bits from `first` on in a set of `size` words. */
static MtmlReturn fill_set(unsigned long *set, unsigned size, unsigned first, unsigned count) {
    if ((first + count - 1) / WORD_BITS >= size)
        return MTML_ERROR_INSUFFICIENT_SIZE;
    memset(set, 0, size * sizeof *set);
    for (unsigned bit = first; bit < first + count; bit++)
        set[bit / WORD_BITS] |= 1UL << bit % WORD_BITS;
    return MTML_SUCCESS;
}

EXPORT MtmlReturn mtmlDeviceGetMemoryAffinityWithinNode(MtmlDevice *object, unsigned size,
                                                        unsigned long *nodes);
EXPORT MtmlReturn mtmlDeviceGetMemoryAffinityWithinNode(MtmlDevice *object, unsigned size,
                                                        unsigned long *nodes) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    MtmlReturn result = hcs_mtml_enter(hcs_mtml_devices, object, nodes, &scenario, &device);
    if (result == MTML_SUCCESS)
        result = device->numa < 0 ? MTML_ERROR_NOT_SUPPORTED
                                  : fill_set(nodes, size, (unsigned)device->numa, 1);
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT MtmlReturn mtmlDeviceGetCpuAffinityWithinNode(MtmlDevice *object, unsigned size,
                                                     unsigned long *cpus);
EXPORT MtmlReturn mtmlDeviceGetCpuAffinityWithinNode(MtmlDevice *object, unsigned size,
                                                     unsigned long *cpus) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    MtmlReturn result = hcs_mtml_enter(hcs_mtml_devices, object, cpus, &scenario, &device);
    if (result != MTML_SUCCESS)
        return result;
    unsigned first = (unsigned)device->numa * CPUS_PER_NUMA_NODE;
    result = device->numa < 0 ? MTML_ERROR_NOT_SUPPORTED
                              : fill_set(cpus, size, first, CPUS_PER_NUMA_NODE);
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- Memory ---------------------------------------------------------------------------------- */

EXPORT MtmlReturn mtmlDeviceInitMemory(MtmlDevice *object, MtmlMemory **memory);
EXPORT MtmlReturn mtmlDeviceInitMemory(MtmlDevice *object, MtmlMemory **memory) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    MtmlReturn result = hcs_mtml_enter(hcs_mtml_devices, object, memory, &scenario, &device);
    if (result == MTML_SUCCESS)
        *memory = (MtmlMemory *)(void *)&hcs_mtml_memories[device->number];
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT MtmlReturn mtmlDeviceFreeMemory(MtmlMemory *memory);
EXPORT MtmlReturn mtmlDeviceFreeMemory(MtmlMemory *memory) {
    return memory ? MTML_SUCCESS : MTML_ERROR_INVALID_ARGUMENT;
}

EXPORT MtmlReturn mtmlMemoryGetTotal(MtmlMemory *memory, unsigned long long *total);
EXPORT MtmlReturn mtmlMemoryGetTotal(MtmlMemory *memory, unsigned long long *total) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    MtmlReturn result = hcs_mtml_enter(hcs_mtml_memories, memory, total, &scenario, &device);
    if (result == MTML_SUCCESS)
        *total = device->vram_bytes;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT MtmlReturn mtmlMemoryGetEccErrorCounter(MtmlMemory *memory, unsigned type, unsigned counter,
                                               unsigned location, unsigned long long *count);
EXPORT MtmlReturn mtmlMemoryGetEccErrorCounter(MtmlMemory *memory, unsigned type, unsigned counter,
                                               unsigned location, unsigned long long *count) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    MtmlReturn result = hcs_mtml_enter(hcs_mtml_memories, memory, count, &scenario, &device);
    if (result != MTML_SUCCESS)
        return result;
    if (type > MTML_MEMORY_ERROR_TYPE_UNCORRECTED || location != MTML_MEMORY_LOCATION_DRAM)
        result = MTML_ERROR_INVALID_ARGUMENT;
    else if (counter != MTML_VOLATILE_ECC) /* the scenario keeps no count over resets */
        result = MTML_ERROR_NOT_SUPPORTED;
    else if (type == MTML_MEMORY_ERROR_TYPE_CORRECTED)
        *count = device->ecc_corrected +
                 hcs_sim_fault_count(scenario, device->number, CODE_CORRECTED);
    else
        *count = device->ecc_uncorrected +
                 hcs_sim_fault_count(scenario, device->number, CODE_UNCORRECTED);
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- MTLink ---------------------------------------------------------------------------------- */

/* A card's links are the lanes of the scenario's links, one after the other. Return how many there
 * are; store the one with number `wanted`, and the card at its other end. */
static unsigned find_link(const struct hcs_sim_scenario *scenario, unsigned number, unsigned wanted,
                          const struct hcs_sim_link **found, const struct hcs_sim_device **peer) {
    unsigned total = 0;
    *found = NULL;
    for (size_t i = 0; i < scenario->link_count; i++) {
        const struct hcs_sim_link *link = &scenario->links[i];
        if (link->type != HCS_SIM_MTLINK || (link->a != number && link->b != number))
            continue;
        if (wanted >= total && wanted - total < link->lanes) {
            *found = link;
            *peer = &scenario->devices[link->a == number ? link->b : link->a];
        }
        total += link->lanes;
    }
    return total;
}

EXPORT MtmlReturn mtmlDeviceGetMtLinkSpec(MtmlDevice *object, MtmlMtLinkSpec *spec);
EXPORT MtmlReturn mtmlDeviceGetMtLinkSpec(MtmlDevice *object, MtmlMtLinkSpec *spec) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device, *peer;
    const struct hcs_sim_link *link;
    MtmlReturn result = hcs_mtml_enter(hcs_mtml_devices, object, spec, &scenario, &device);
    if (result == MTML_SUCCESS)
        *spec = (MtmlMtLinkSpec){
            .version = 1, .linkNum = find_link(scenario, device->number, 0, &link, &peer)};
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT MtmlReturn mtmlDeviceGetMtLinkState(MtmlDevice *object, unsigned index, unsigned *state);
EXPORT MtmlReturn mtmlDeviceGetMtLinkState(MtmlDevice *object, unsigned index, unsigned *state) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device, *peer;
    const struct hcs_sim_link *link;
    MtmlReturn result = hcs_mtml_enter(hcs_mtml_devices, object, state, &scenario, &device);
    if (result != MTML_SUCCESS)
        return result;
    find_link(scenario, device->number, index, &link, &peer);
    if (link)
        *state = link->up && peer->present ? MTML_MTLINK_STATE_UP : MTML_MTLINK_STATE_DOWN;
    else
        result = MTML_ERROR_INVALID_ARGUMENT;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT MtmlReturn mtmlDeviceGetMtLinkRemoteDevice(MtmlDevice *object, unsigned index,
                                                  MtmlDevice **remote);
EXPORT MtmlReturn mtmlDeviceGetMtLinkRemoteDevice(MtmlDevice *object, unsigned index,
                                                  MtmlDevice **remote) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device, *peer;
    const struct hcs_sim_link *link;
    MtmlReturn result = hcs_mtml_enter(hcs_mtml_devices, object, remote, &scenario, &device);
    if (result != MTML_SUCCESS)
        return result;
    find_link(scenario, device->number, index, &link, &peer);
    if (link)
        *remote = (MtmlDevice *)(void *)&hcs_mtml_devices[peer->number];
    else
        result = MTML_ERROR_INVALID_ARGUMENT;
    hcs_sim_scenario_release(scenario);
    return result;
}

/* --- PCIe ------------------------------------------------------------------------------------ */

EXPORT MtmlReturn mtmlDeviceGetTopologyLevel(MtmlDevice *one, MtmlDevice *other, unsigned *level);
EXPORT MtmlReturn mtmlDeviceGetTopologyLevel(MtmlDevice *one, MtmlDevice *other, unsigned *level) {
    const MtmlDevice *const objects[] = {one, other};
    int numa[2];
    for (size_t i = 0; i < 2; i++) {
        const struct hcs_sim_scenario *scenario;
        const struct hcs_sim_device *device;
        MtmlReturn result =
            hcs_mtml_enter(hcs_mtml_devices, objects[i], level, &scenario, &device);
        if (result != MTML_SUCCESS)
            return result;
        numa[i] = device->numa;
        hcs_sim_scenario_release(scenario);
    }
    if (one == other)
        return MTML_ERROR_INVALID_ARGUMENT;
    *level = numa[0] == numa[1] ? MTML_TOPOLOGY_HOSTBRIDGE : MTML_TOPOLOGY_SYSTEM;
    return MTML_SUCCESS;
}
