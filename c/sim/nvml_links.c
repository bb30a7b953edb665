/* Simulated libnvidia-ml.so.1: NVLink, and the way over PCIe.
 *
 * The lanes of an `nvlink` are cables from card to card. Those of an `nvswitch` go to switches: a
 * card has as many as its best-connected pair has lanes. A card has a fixed number of physical
 * links, so a mesh of more cables than that cannot be wired and goes to switches too, as it does on
 * an HGX board.
 *
 * On switches a pair has no lanes of its own that could fail: what fails is a switch's end of both
 * cards' links. So a pair that is down takes a switch's worth of links from each of the two, and
 * with them from what they have to every other card.
 */
#include "nvml.h"

#define LINKS_OF_A_CARD 12     /* A100 */
#define SWITCH_BUS 0xC0U       /* the switches' PCI buses; two links of each card to each switch */
#define LINKS_TO_A_SWITCH 2U

struct remote {
    bool active;
    bool is_switch;
    unsigned domain, bus, device;
};

/* The lanes of a link as seen from `number`, with `*peer`; 0 when the link is another card's. */
static unsigned lanes_from(const struct hcs_sim_link *link, unsigned number, unsigned *peer) {
    if (link->type != HCS_SIM_NVLINK && link->type != HCS_SIM_NVSWITCH)
        return 0;
    if (link->a != number && link->b != number)
        return 0;
    *peer = link->a == number ? link->b : link->a;
    return link->lanes;
}

/* Say whether the scenario gives a card more cables than it has places for. */
static bool is_meshed(const struct hcs_sim_scenario *scenario, unsigned number) {
    unsigned cables = 0, peer;
    for (size_t i = 0; i < scenario->link_count; i++)
        if (scenario->links[i].type == HCS_SIM_NVLINK)
            cables += lanes_from(&scenario->links[i], number, &peer);
    return cables > LINKS_OF_A_CARD;
}

bool hcs_nvml_has_links(const struct hcs_sim_scenario *scenario, unsigned number) {
    unsigned peer;
    for (size_t i = 0; i < scenario->link_count; i++)
        if (lanes_from(&scenario->links[i], number, &peer))
            return true;
    return false;
}

/* Fill in what is at the other end of a physical link; false when there is no such link. The cables
 * come first, then the links to the switches. */
static bool find_remote(const struct hcs_sim_scenario *scenario, unsigned number, unsigned index,
                        struct remote *out) {
    bool meshed = is_meshed(scenario, number);
    unsigned cables = 0, switched = 0, switched_down = 0, peer;
    for (size_t i = 0; i < scenario->link_count; i++) {
        const struct hcs_sim_link *link = &scenario->links[i];
        unsigned lanes = lanes_from(link, number, &peer);
        if (lanes && (meshed || link->type == HCS_SIM_NVSWITCH)) {
            switched = lanes > switched ? lanes : switched;
            switched_down += link->up ? 0 : LINKS_TO_A_SWITCH;
            continue;
        }
        if (index >= cables && index < cables + lanes) {
            const struct hcs_sim_device *device = &scenario->devices[peer];
            *out = (struct remote){.active = link->up && device->present,
                                   .domain = device->pci_domain,
                                   .bus = device->pci_bus,
                                   .device = device->pci_device};
            return true;
        }
        cables += lanes;
    }
    index -= cables;
    *out = (struct remote){.active = index + switched_down < switched,
                           .is_switch = true,
                           .bus = SWITCH_BUS + index / LINKS_TO_A_SWITCH};
    return index < switched;
}

static nvmlReturn_t enter(nvmlDevice_t handle, unsigned index, struct remote *remote) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    nvmlReturn_t result = hcs_nvml_enter(handle, &scenario, &device);
    if (result != NVML_SUCCESS)
        return result;
    if (index >= NVML_NVLINK_MAX_LINKS)
        result = NVML_ERROR_INVALID_ARGUMENT;
    else if (!find_remote(scenario, device->number, index, remote))
        result = NVML_ERROR_NOT_SUPPORTED;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t handle, unsigned index, int *active);
EXPORT nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t handle, unsigned index, int *active) {
    struct remote remote;
    nvmlReturn_t result = enter(handle, index, &remote);
    if (result != NVML_SUCCESS)
        return result;
    if (!active)
        return NVML_ERROR_INVALID_ARGUMENT;
    *active = remote.active;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t handle, unsigned index,
                                                        nvmlPciInfo_t *pci);
EXPORT nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t handle, unsigned index,
                                                        nvmlPciInfo_t *pci) {
    struct remote remote;
    nvmlReturn_t result = enter(handle, index, &remote);
    if (result != NVML_SUCCESS)
        return result;
    if (!pci)
        return NVML_ERROR_INVALID_ARGUMENT;
    hcs_nvml_fill_pci(pci, remote.domain, remote.bus, remote.device);
    pci->pciDeviceId = NVML_PCI_VENDOR;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetNvLinkRemoteDeviceType(nvmlDevice_t handle, unsigned index,
                                                        int *type);
EXPORT nvmlReturn_t nvmlDeviceGetNvLinkRemoteDeviceType(nvmlDevice_t handle, unsigned index,
                                                        int *type) {
    struct remote remote;
    nvmlReturn_t result = enter(handle, index, &remote);
    if (result != NVML_SUCCESS)
        return result;
    if (!type)
        return NVML_ERROR_INVALID_ARGUMENT;
    *type = remote.is_switch ? NVML_NVLINK_DEVICE_TYPE_SWITCH : NVML_NVLINK_DEVICE_TYPE_GPU;
    return NVML_SUCCESS;
}

/* --- PCIe ------------------------------------------------------------------------------------ */

EXPORT nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t one, nvmlDevice_t other,
                                                        int *level);
EXPORT nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t one, nvmlDevice_t other,
                                                        int *level) {
    const nvmlDevice_t handles[] = {one, other};
    int numa[2];
    for (size_t i = 0; i < 2; i++) {
        const struct hcs_sim_scenario *scenario;
        const struct hcs_sim_device *device;
        nvmlReturn_t result = hcs_nvml_enter(handles[i], &scenario, &device);
        if (result != NVML_SUCCESS)
            return result;
        numa[i] = device->numa;
        hcs_sim_scenario_release(scenario);
    }
    if (!level || one == other)
        return NVML_ERROR_INVALID_ARGUMENT;
    *level = numa[0] == numa[1] ? NVML_TOPOLOGY_HOSTBRIDGE : NVML_TOPOLOGY_SYSTEM;
    return NVML_SUCCESS;
}
