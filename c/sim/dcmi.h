/* The part of the DCMI ABI that is simulated: return codes, structures, and the shared helpers.
 *
 * Names (with the vendor's spelling), numbers and layouts are those of Huawei's
 * dcmi_interface_api.h; sizes are checked here, at compile time.
 */
#ifndef HCS_SIM_DCMI_H
#define HCS_SIM_DCMI_H

#include <stddef.h>
#include <stdint.h>

#include "scenario.h"

#define EXPORT __attribute__((visibility("default")))

enum {
    DCMI_OK = 0,
    DCMI_ERR_CODE_INVALID_PARAMETER = -8001,
    DCMI_ERR_CODE_INNER_ERR = -8005,
    DCMI_ERR_CODE_TIME_OUT = -8006,
    DCMI_ERR_CODE_INVALID_DEVICE_ID = -8007,
    DCMI_ERR_CODE_DEVICE_NOT_EXIST = -8008,
    DCMI_ERR_CODE_NOT_REDAY = -8012,
    DCMI_ERR_CODE_NOT_SUPPORT = -8255
};

#define DCMI_ERROR_CODES_MAX 128
#define DCMI_EVENT_WAIT_MS_MAX 30000
#define DCMI_HEALTH_OK 0U
#define DCMI_HEALTH_CRITICAL 3U
#define DCMI_HEALTH_ABSENT 0xFFFFFFFFU
#define DCMI_SEVERITY_CRITICAL 3
#define DCMI_FILTER_EVENT_ID 1U
#define DCMI_FILTER_SEVERITY 2U
#define DCMI_DEVICE_TYPE_DDR 0
#define DCMI_DEVICE_TYPE_HBM 2
#define DCMI_FREQ_AICORE_CURRENT 7
#define DCMI_UTILIZATION_AICORE 2
#define DCMI_COMPONENT_TYPE_HILINK 18U
#define DCMI_MAIN_CMD_HCCS 16
#define DCMI_HCCS_CMD_GET_STATISTIC_INFO_U64 5U
#define DCMI_MAIN_CMD_PCIE 55
#define DCMI_PCIE_SUB_CMD_PCIE_ERROR_INFO 1U
#define DCMI_HCCS_MAX_PCS_NUM 16
#define DCMI_PROCESSES_MAX 32 /* that are told of a chip */
enum {
    DCMI_TOPO_SELF = 0,
    DCMI_TOPO_SYS = 1,
    DCMI_TOPO_PHB = 2,
    DCMI_TOPO_HCCS = 3,
    DCMI_TOPO_SIO = 6 /* two chips of one board */
};
enum dcmi_die_type { NDIE = 0, VDIE = 1, DDIE = 2 };

struct dcmi_chip_info_v2 {
    unsigned char chip_type[32], chip_name[32], chip_ver[32];
    unsigned aicore_cnt;
    unsigned char npu_name[32];
};
_Static_assert(sizeof(struct dcmi_chip_info_v2) == 132, "dcmi_chip_info_v2");
_Static_assert(offsetof(struct dcmi_chip_info_v2, npu_name) == 100, "dcmi_chip_info_v2.npu_name");

struct dcmi_pcie_info_all {
    unsigned venderid, subvenderid, deviceid, subdeviceid;
    int domain;
    unsigned bdf_busid, bdf_deviceid, bdf_funcid;
    unsigned char reserve[32];
};
_Static_assert(sizeof(struct dcmi_pcie_info_all) == 64, "dcmi_pcie_info_all");

struct dcmi_elabel_info {
    char product_name[256], model[256], manufacturer[256], manufacturer_date[256];
    char serial_number[256];
};
_Static_assert(sizeof(struct dcmi_elabel_info) == 1280, "dcmi_elabel_info");

#define DIE_WORDS 5

struct dcmi_die_id {
    unsigned soc_die[DIE_WORDS];
};
_Static_assert(sizeof(struct dcmi_die_id) == 20, "dcmi_die_id");

struct dcmi_proc_mem_info {
    int proc_id;
    uint64_t proc_mem_usage; /* bytes */
};
_Static_assert(sizeof(struct dcmi_proc_mem_info) == 16, "dcmi_proc_mem_info");

struct dcmi_hbm_info {
    uint64_t memory_size; /* MB */
    unsigned freq;
    uint64_t memory_usage; /* MB */
    int temp;
    unsigned bandwith_util_rate;
};
_Static_assert(sizeof(struct dcmi_hbm_info) == 32, "dcmi_hbm_info");
_Static_assert(offsetof(struct dcmi_hbm_info, memory_usage) == 16, "dcmi_hbm_info.memory_usage");

struct dcmi_memory_info {
    uint64_t memory_size; /* MB */
    unsigned freq, utiliza;
};
_Static_assert(sizeof(struct dcmi_memory_info) == 16, "dcmi_memory_info");

struct dcmi_get_memory_info_stru {
    uint64_t memory_size, memory_available; /* MB */
    unsigned freq;
    uint64_t hugepagesize, hugepages_total, hugepages_free;
    unsigned utiliza;
    unsigned char reserve[60];
};
_Static_assert(sizeof(struct dcmi_get_memory_info_stru) == 112, "dcmi_get_memory_info_stru");
_Static_assert(offsetof(struct dcmi_get_memory_info_stru, utiliza) == 48, "utiliza");

struct dcmi_ecc_info {
    int enable_flag;
    unsigned single_bit_error_cnt, double_bit_error_cnt;             /* since the start */
    unsigned total_single_bit_error_cnt, total_double_bit_error_cnt; /* ever */
    unsigned single_bit_isolated_pages_cnt, double_bit_isolated_pages_cnt;
};
_Static_assert(sizeof(struct dcmi_ecc_info) == 28, "dcmi_ecc_info");

struct dcmi_pcie_link_error_info {
    unsigned tx_err_cnt, rx_err_cnt, lcrc_err_cnt, ecrc_err_cnt, retry_cnt;
    unsigned rsv[32];
};
_Static_assert(sizeof(struct dcmi_pcie_link_error_info) == 148, "dcmi_pcie_link_error_info");

struct dcmi_hccs_statistic_info_u64 {
    uint64_t tx_cnt[DCMI_HCCS_MAX_PCS_NUM], rx_cnt[DCMI_HCCS_MAX_PCS_NUM];
    uint64_t crc_err_cnt[DCMI_HCCS_MAX_PCS_NUM], retry_cnt[DCMI_HCCS_MAX_PCS_NUM];
    uint64_t reserved[64];
};
_Static_assert(sizeof(struct dcmi_hccs_statistic_info_u64) == 1024, "dcmi_hccs_statistic_info_u64");

struct dcmi_event_filter {
    uint64_t filter_flag;
    unsigned event_id;
    unsigned char severity, node_type, resv[32];
};
_Static_assert(sizeof(struct dcmi_event_filter) == 48, "dcmi_event_filter");

struct dcmi_dms_fault_event {
    unsigned event_id;
    unsigned short deviceid;
    unsigned char node_type, node_id, sub_node_type, sub_node_id, severity;
    unsigned char assertion; /* 0 recovered, 1 raised */
    int event_serial_num, notify_serial_num;
    uint64_t alarm_raised_time; /* ms since the epoch */
    char event_name[256], additional_info[32];
    unsigned char os_id, resv_1[1];
    unsigned short node_type_ex, sub_node_type_ex;
    unsigned char resv_2[2], resv[24];
};
_Static_assert(sizeof(struct dcmi_dms_fault_event) == 352, "dcmi_dms_fault_event");
_Static_assert(offsetof(struct dcmi_dms_fault_event, alarm_raised_time) == 24, "alarm_raised_time");

struct dcmi_event {
    int type; /* 0: dms_event */
    union {
        struct dcmi_dms_fault_event dms_event;
    } event_t;
};
_Static_assert(sizeof(struct dcmi_event) == 360, "dcmi_event");

/* Acquire a snapshot and a chip, once it does not hang. On any other result
 * than DCMI_OK `*scenario` is NULL; on DCMI_OK the caller releases it. A lost card is none, and
 * neither is a chip of the 950, which has functions of its own. */
int hcs_dcmi_enter(int card_id, int device_id, const struct hcs_sim_scenario **scenario,
                   const struct hcs_sim_device **device);

/* The same, but a lost card is entered too: `(*device)->present` is false. */
int hcs_dcmi_enter_any(int card_id, int device_id, const struct hcs_sim_scenario **scenario,
                       const struct hcs_sim_device **device);

/* The same for a chip of the 950, by its own number; all others have none. */
int hcs_dcmi_enter_950(int dev_id, const struct hcs_sim_scenario **scenario,
                       const struct hcs_sim_device **device);

/* What both kinds of functions say of a chip. */
void hcs_dcmi_put_hbm(const struct hcs_sim_device *device, struct dcmi_hbm_info *out);
bool hcs_dcmi_put_die(const struct hcs_sim_device *device, struct dcmi_die_id *out);
void hcs_dcmi_put_label(const struct hcs_sim_device *device, struct dcmi_elabel_info *out);

/* Take note of the events that happened before dcmi_init: they are not handed out. */
void hcs_dcmi_events_begin(const struct hcs_sim_scenario *scenario);

/* The number behind a hexadecimal code as the scenario writes it; false when it is none. */
bool hcs_dcmi_code(const char *text, unsigned *code);

#endif
