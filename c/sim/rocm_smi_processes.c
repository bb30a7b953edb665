/* Simulated librocm_smi64.so.2: who uses the cards.
 *
 * KFD lists the processes of the whole node. As with Hygon's driver that list says nothing of their
 * memory: it is told per process and card, and is 0 on the cards that a process does not use.
 */
#include "card_processes.h"
#include "rocm_smi.h"

/* Collect the pids of all cards of the vendor, each once; return how many there are. */
static uint32_t list_pids(const struct hcs_sim_scenario *scenario,
                          uint32_t pids[HCS_SIM_PROCESSES_MAX]) {
    struct hcs_sim_card_process processes[HCS_SIM_PROCESSES_MAX];
    uint32_t count = 0;
    for (unsigned i = 0; i < hcs_sim_device_count(scenario, HCS_SIM_HYGON); i++) {
        unsigned number = hcs_sim_device_at(scenario, HCS_SIM_HYGON, i)->number;
        size_t on_card = hcs_sim_processes_of(number, processes);
        for (size_t j = 0; j < on_card; j++) {
            uint32_t known = 0;
            while (known < count && pids[known] != processes[j].pid)
                known++;
            if (known == count && count < HCS_SIM_PROCESSES_MAX)
                pids[count++] = processes[j].pid;
        }
    }
    return count;
}

EXPORT rsmi_status_t rsmi_compute_process_info_get(rsmi_process_info_t *infos, uint32_t *count);
EXPORT rsmi_status_t rsmi_compute_process_info_get(rsmi_process_info_t *infos, uint32_t *count) {
    uint32_t pids[HCS_SIM_PROCESSES_MAX];
    const struct hcs_sim_scenario *scenario;
    rsmi_status_t result = hcs_rsmi_acquire(&scenario);
    if (result != RSMI_STATUS_SUCCESS)
        return result;
    uint32_t found = list_pids(scenario, pids);
    hcs_sim_scenario_release(scenario);
    if (!count)
        return RSMI_STATUS_INVALID_ARGS;
    uint32_t room = *count;
    *count = infos && room < found ? room : found;
    for (uint32_t i = 0; infos && i < *count; i++)
        infos[i] = (rsmi_process_info_t){.process_id = pids[i], .pasid = i + 1};
    return infos && room < found ? RSMI_STATUS_INSUFFICIENT_SIZE : RSMI_STATUS_SUCCESS;
}

EXPORT rsmi_status_t rsmi_compute_process_info_by_device_get(uint32_t pid, uint32_t index,
                                                             rsmi_process_info_t *info);
EXPORT rsmi_status_t rsmi_compute_process_info_by_device_get(uint32_t pid, uint32_t index,
                                                             rsmi_process_info_t *info) {
    struct hcs_sim_card_process processes[HCS_SIM_PROCESSES_MAX];
    uint32_t pids[HCS_SIM_PROCESSES_MAX];
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    rsmi_status_t result = hcs_rsmi_enter(index, info, &scenario, &device);
    if (result != RSMI_STATUS_SUCCESS)
        return result;
    result = RSMI_STATUS_NOT_FOUND;
    for (uint32_t i = list_pids(scenario, pids); i > 0; i--)
        if (pids[i - 1] == pid) {
            *info = (rsmi_process_info_t){.process_id = pid, .pasid = i};
            result = RSMI_STATUS_SUCCESS;
        }
    size_t count = hcs_sim_processes_of(device->number, processes);
    for (size_t i = 0; i < count; i++)
        if (processes[i].pid == pid)
            info->vram_usage = processes[i].used_bytes;
    hcs_sim_scenario_release(scenario);
    return result;
}
