/* Simulated libdcmi.so: enumeration, topology.
 *
 * The scenario's cards are chips. Neighbours with one serial number are those of one board:
 * (card_id, 0), (card_id, 1) and so on, card_id counting boards from 0. When the driver goes away
 * the library has to be initialised anew.
 */
#include "dcmi.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define AFFINITY_CPUS_MAX 32 /* TOPO_INFO_MAX_LENTH: bytes of the caller's buffer */
#define CPUS_PER_NUMA_NODE 48
#define VERSION_BYTES_MIN 16 /* the library refuses smaller buffers for its own version */

static atomic_bool initialised;
static atomic_bool driver_gone; /* seen since the last dcmi_init */

/* The snapshot while the driver is loaded, or NULL. */
static const struct hcs_sim_scenario *acquire_loaded(void) {
    const struct hcs_sim_scenario *scenario = hcs_sim_scenario_acquire();
    if (scenario && !scenario->driver_down[HCS_SIM_HUAWEI])
        return scenario;
    hcs_sim_scenario_release(scenario);
    return NULL;
}

EXPORT int dcmi_init(void);
EXPORT int dcmi_init(void) {
    const struct hcs_sim_scenario *scenario = acquire_loaded();
    if (!scenario)
        return DCMI_ERR_CODE_INNER_ERR; /* as without a driver */
    bool anew = atomic_exchange(&driver_gone, false);
    if (!atomic_exchange(&initialised, true) || anew)
        hcs_dcmi_events_begin(scenario);
    hcs_sim_scenario_release(scenario);
    return DCMI_OK;
}

static int acquire(const struct hcs_sim_scenario **scenario) {
    *scenario = NULL;
    if (!initialised)
        return DCMI_ERR_CODE_NOT_REDAY;
    *scenario = acquire_loaded();
    if (!*scenario) {
        driver_gone = true;
        return DCMI_ERR_CODE_INNER_ERR;
    }
    if (!driver_gone)
        return DCMI_OK;
    hcs_sim_scenario_release(*scenario);
    *scenario = NULL;
    return DCMI_ERR_CODE_NOT_REDAY;
}

static bool same_board(const struct hcs_sim_device *one, const struct hcs_sim_device *other) {
    return !strcmp(one->serial, other->serial);
}

/* Find the chips of a board: how many there are, and the vendor's own index of the first. */
static int count_chips(const struct hcs_sim_scenario *scenario, int card_id, unsigned *first) {
    const struct hcs_sim_device *before = NULL, *device;
    int number = -1, chips = 0;
    for (unsigned i = 0; (device = hcs_sim_device_at(scenario, HCS_SIM_HUAWEI, i)); i++) {
        number += !before || !same_board(before, device);
        before = device;
        if (number == card_id && chips++ == 0)
            *first = i;
    }
    return chips;
}

/* Find a chip; NULL leaves `*result` to tell why. */
static const struct hcs_sim_device *find(const struct hcs_sim_scenario *scenario, int card_id,
                                         int device_id, int *result) {
    unsigned first;
    int chips = count_chips(scenario, card_id, &first);
    *result = DCMI_OK;
    if (!chips)
        *result = DCMI_ERR_CODE_INVALID_PARAMETER;
    else if (device_id < 0 || device_id >= chips)
        *result = DCMI_ERR_CODE_INVALID_DEVICE_ID;
    if (*result != DCMI_OK)
        return NULL;
    return hcs_sim_device_at(scenario, HCS_SIM_HUAWEI, first + (unsigned)device_id);
}

int hcs_dcmi_enter_any(int card_id, int device_id, const struct hcs_sim_scenario **scenario,
                       const struct hcs_sim_device **device) {
    for (bool waited = false;; waited = true) {
        int result = acquire(scenario);
        if (result != DCMI_OK)
            return result;
        *device = find(*scenario, card_id, device_id, &result);
        if (*device && waited)
            return DCMI_OK;
        unsigned number = *device ? (*device)->number : 0;
        hcs_sim_scenario_release(*scenario);
        *scenario = NULL;
        if (!*device)
            return result;
        hcs_sim_device_wait(number);
    }
}

static bool is_950(const struct hcs_sim_device *device) {
    return !strncmp(device->model, "950", 3);
}

int hcs_dcmi_enter(int card_id, int device_id, const struct hcs_sim_scenario **scenario,
                   const struct hcs_sim_device **device) {
    int result = hcs_dcmi_enter_any(card_id, device_id, scenario, device);
    bool of_950 = result == DCMI_OK && is_950(*device);
    if (result != DCMI_OK || ((*device)->present && !of_950))
        return result;
    hcs_sim_scenario_release(*scenario);
    *scenario = NULL;
    return of_950 ? DCMI_ERR_CODE_NOT_SUPPORT : DCMI_ERR_CODE_DEVICE_NOT_EXIST;
}

int hcs_dcmi_enter_950(int dev_id, const struct hcs_sim_scenario **scenario,
                       const struct hcs_sim_device **device) {
    int result = acquire(scenario);
    if (result != DCMI_OK)
        return result;
    *device = dev_id >= 0 ? hcs_sim_device_at(*scenario, HCS_SIM_HUAWEI, (unsigned)dev_id) : NULL;
    if (!*device)
        result = DCMI_ERR_CODE_INVALID_DEVICE_ID;
    else if (!is_950(*device))
        result = DCMI_ERR_CODE_NOT_SUPPORT;
    else if (!(*device)->present)
        result = DCMI_ERR_CODE_DEVICE_NOT_EXIST;
    if (result == DCMI_OK)
        return result;
    hcs_sim_scenario_release(*scenario);
    *scenario = NULL;
    return result;
}

/* --- Enumeration ----------------------------------------------------------------------------- */

static int put_version(char *version, unsigned length) {
    const struct hcs_sim_scenario *scenario;
    int result = acquire(&scenario);
    if (result != DCMI_OK)
        return result;
    if (version && strlen(scenario->ascend_driver) < length)
        strcpy(version, scenario->ascend_driver);
    else
        result = DCMI_ERR_CODE_INVALID_PARAMETER;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT int dcmi_get_driver_version(char *version, unsigned length);
EXPORT int dcmi_get_driver_version(char *version, unsigned length) {
    return put_version(version, length);
}

/* The library and the driver are built together. */
EXPORT int dcmi_get_dcmi_version(char *version, unsigned length);
EXPORT int dcmi_get_dcmi_version(char *version, unsigned length) {
    return length < VERSION_BYTES_MIN ? DCMI_ERR_CODE_INVALID_PARAMETER
                                      : put_version(version, length);
}

EXPORT int dcmi_get_card_list(int *count, int *list, int list_length);
EXPORT int dcmi_get_card_list(int *count, int *list, int list_length) {
    const struct hcs_sim_scenario *scenario;
    int result = acquire(&scenario);
    if (result != DCMI_OK)
        return result;
    unsigned first;
    int boards = 0;
    while (count_chips(scenario, boards, &first))
        boards++;
    hcs_sim_scenario_release(scenario);
    if (!count || !list || list_length <= 0)
        return DCMI_ERR_CODE_INVALID_PARAMETER;
    *count = boards < list_length ? boards : list_length;
    for (int i = 0; i < *count; i++)
        list[i] = i;
    return DCMI_OK;
}

EXPORT int dcmi_get_device_num_in_card(int card_id, int *count);
EXPORT int dcmi_get_device_num_in_card(int card_id, int *count) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    unsigned first;
    int result = hcs_dcmi_enter_any(card_id, 0, &scenario, &device);
    int chips = result == DCMI_OK ? count_chips(scenario, card_id, &first) : 0;
    hcs_sim_scenario_release(scenario);
    if (result == DCMI_OK && !count)
        result = DCMI_ERR_CODE_INVALID_PARAMETER;
    if (result == DCMI_OK)
        *count = chips;
    return result;
}

EXPORT int dcmi_get_device_id_in_card(int card_id, int *device_id_max, int *mcu_id, int *cpu_id);
EXPORT int dcmi_get_device_id_in_card(int card_id, int *device_id_max, int *mcu_id, int *cpu_id) {
    if (!device_id_max || !mcu_id || !cpu_id)
        return DCMI_ERR_CODE_INVALID_PARAMETER;
    int result = dcmi_get_device_num_in_card(card_id, device_id_max);
    if (result == DCMI_OK)
        *mcu_id = *cpu_id = -1;
    return result;
}

EXPORT int dcmi_get_device_logic_id(int *logic_id, int card_id, int device_id);
EXPORT int dcmi_get_device_logic_id(int *logic_id, int card_id, int device_id) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
    int index = result == DCMI_OK ? (int)hcs_sim_index_of(scenario, device) : 0;
    hcs_sim_scenario_release(scenario);
    if (result == DCMI_OK && !logic_id)
        result = DCMI_ERR_CODE_INVALID_PARAMETER;
    if (result == DCMI_OK)
        *logic_id = index;
    return result;
}

/* --- Topology -------------------------------------------------------------------------------- */

static int topology(const struct hcs_sim_scenario *scenario, const struct hcs_sim_device *one,
                    const struct hcs_sim_device *other) {
    if (one == other)
        return DCMI_TOPO_SELF;
    const struct hcs_sim_link *link = hcs_sim_link_between(scenario, one->number, other->number);
    if (link && link->type == HCS_SIM_HCCS && link->up)
        return DCMI_TOPO_HCCS;
    if (same_board(one, other))
        return DCMI_TOPO_SIO;
    return one->numa == other->numa ? DCMI_TOPO_PHB : DCMI_TOPO_SYS;
}

EXPORT int dcmi_get_topo_info_by_device_id(int card_id1, int device_id1, int card_id2,
                                           int device_id2, int *type);
EXPORT int dcmi_get_topo_info_by_device_id(int card_id1, int device_id1, int card_id2,
                                           int device_id2, int *type) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *one, *other;
    int result = hcs_dcmi_enter(card_id2, device_id2, &scenario, &other);
    hcs_sim_scenario_release(scenario); /* this was for its errors, and in case it hangs */
    if (result == DCMI_OK)
        result = hcs_dcmi_enter(card_id1, device_id1, &scenario, &one);
    if (result != DCMI_OK)
        return result;
    other = find(scenario, card_id2, device_id2, &result);
    if (!type)
        result = DCMI_ERR_CODE_INVALID_PARAMETER;
    else if (other)
        *type = topology(scenario, one, other);
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT int dcmi_get_affinity_cpu_info_by_device_id(int card_id, int device_id, char *cpus,
                                                   int *length);
EXPORT int dcmi_get_affinity_cpu_info_by_device_id(int card_id, int device_id, char *cpus,
                                                   int *length) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
    if (result != DCMI_OK)
        return result;
    int first = (device->numa < 0 ? 0 : device->numa) * CPUS_PER_NUMA_NODE;
    hcs_sim_scenario_release(scenario);
    if (!cpus || !length)
        return DCMI_ERR_CODE_INVALID_PARAMETER;
    *length = snprintf(cpus, AFFINITY_CPUS_MAX, "%d-%d", first, first + CPUS_PER_NUMA_NODE - 1);
    return DCMI_OK;
}
