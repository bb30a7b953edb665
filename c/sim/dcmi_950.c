/* Simulated libdcmi.so: what chips of the 950 answer to. A chip has one number, as nothing else of
 * the library does, and the functions for other chips refuse it. */
#include "dcmi.h"

EXPORT int dcmi_init(void);
EXPORT int dcmiv2_init(void);
EXPORT int dcmiv2_init(void) { return dcmi_init(); }

EXPORT int dcmiv2_get_device_hbm_info(int dev_id, struct dcmi_hbm_info *out);
EXPORT int dcmiv2_get_device_hbm_info(int dev_id, struct dcmi_hbm_info *out) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    int result = out ? hcs_dcmi_enter_950(dev_id, &scenario, &device)
                     : DCMI_ERR_CODE_INVALID_PARAMETER;
    if (result != DCMI_OK)
        return result;
    hcs_dcmi_put_hbm(device, out);
    hcs_sim_scenario_release(scenario);
    return DCMI_OK;
}

EXPORT int dcmiv2_get_device_elabel_info(int dev_id, struct dcmi_elabel_info *out);
EXPORT int dcmiv2_get_device_elabel_info(int dev_id, struct dcmi_elabel_info *out) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    int result = out ? hcs_dcmi_enter_950(dev_id, &scenario, &device)
                     : DCMI_ERR_CODE_INVALID_PARAMETER;
    if (result != DCMI_OK)
        return result;
    hcs_dcmi_put_label(device, out);
    hcs_sim_scenario_release(scenario);
    return DCMI_OK;
}

EXPORT int dcmiv2_get_device_die_id(int dev_id, enum dcmi_die_type type, struct dcmi_die_id *out);
EXPORT int dcmiv2_get_device_die_id(int dev_id, enum dcmi_die_type type, struct dcmi_die_id *out) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    int result = out ? hcs_dcmi_enter_950(dev_id, &scenario, &device)
                     : DCMI_ERR_CODE_INVALID_PARAMETER;
    if (result != DCMI_OK)
        return result;
    bool told = hcs_dcmi_put_die(device, out);
    hcs_sim_scenario_release(scenario);
    return told && type == VDIE ? DCMI_OK : DCMI_ERR_CODE_NOT_SUPPORT;
}
