/* The part of the rocm_smi ABI that is simulated, as Hygon's driver ships it.
 *
 * Names, numbers and layouts are those of rocm_smi.h. Hygon has two of them under one soname: in
 * the newer one some structures grew. Sizes are checked here, at compile time.
 */
#ifndef HCS_SIM_ROCM_SMI_H
#define HCS_SIM_ROCM_SMI_H

#include <stddef.h>
#include <stdint.h>

#include "scenario.h"

#define EXPORT __attribute__((visibility("default")))

typedef enum {
    RSMI_STATUS_SUCCESS = 0,
    RSMI_STATUS_INVALID_ARGS = 1,
    RSMI_STATUS_NOT_SUPPORTED = 2,
    RSMI_STATUS_INIT_ERROR = 8,
    RSMI_STATUS_NOT_FOUND = 10,
    RSMI_STATUS_INSUFFICIENT_SIZE = 11,
    RSMI_STATUS_UNKNOWN_ERROR = 0xFFFFFFFF
} rsmi_status_t;
_Static_assert(sizeof(rsmi_status_t) == 4, "a C enum of 4 bytes");

typedef enum { RSMI_MEM_TYPE_VRAM = 0 } rsmi_memory_type_t;
typedef enum { RSMI_TEMP_CURRENT = 0 } rsmi_temperature_metric_t;
typedef enum { RSMI_CLK_TYPE_SYS = 0, RSMI_CLK_TYPE_MEM = 4 } rsmi_clk_type_t;
typedef enum { RSMI_SW_COMP_DRIVER = 0 } rsmi_sw_component_t;
typedef enum { RSMI_IOLINK_TYPE_PCIEXPRESS = 1, RSMI_IOLINK_TYPE_XGMI = 2 } RSMI_IO_LINK_TYPE;

enum { /* rsmi_temperature_type_t, which the functions take as a number */
    RSMI_TEMP_TYPE_EDGE = 0,
    RSMI_TEMP_TYPE_JUNCTION = 1,
    RSMI_TEMP_TYPE_MEMORY = 2
};

typedef enum {
    RSMI_GPU_BLOCK_UMC = 0x1,
    RSMI_GPU_BLOCK_XGMI_WAFL = 0x80,
    RSMI_GPU_BLOCK_MPIO = 0x40000, /* the last one */
    RSMI_GPU_BLOCK_RESERVED = INT64_MIN
} rsmi_gpu_block_t;
_Static_assert(sizeof(rsmi_gpu_block_t) == 8, "RSMI_GPU_BLOCK_RESERVED makes it 8 bytes");

typedef struct {
    uint32_t major, minor, patch;
    const char *build;
} rsmi_version_t;
_Static_assert(sizeof(rsmi_version_t) == 24, "rsmi_version_t");
_Static_assert(offsetof(rsmi_version_t, build) == 16, "rsmi_version_t.build");

typedef struct {
    uint32_t process_id, pasid;
    uint64_t vram_usage, sdma_usage; /* bytes, microseconds */
    uint32_t cu_occupancy;
} rsmi_process_info_t;
_Static_assert(sizeof(rsmi_process_info_t) == 32, "rsmi_process_info_t");

typedef struct { /* of version 2.8 */
    uint64_t correctable_err, uncorrectable_err;
} rsmi_error_count_t;
_Static_assert(sizeof(rsmi_error_count_t) == 16, "rsmi_error_count_t");
_Static_assert(offsetof(rsmi_error_count_t, uncorrectable_err) == 8, "uncorrectable_err");

typedef struct { /* of the newer one */
    uint64_t correctable_err, uncorrectable_err, deferred_err, reserved[5];
} rsmi_error_count_wide_t;
_Static_assert(sizeof(rsmi_error_count_wide_t) == 64, "rsmi_error_count_wide_t");
_Static_assert(offsetof(rsmi_error_count_wide_t, uncorrectable_err) == 8, "uncorrectable_err");

typedef struct { /* Hz, or transfers per second */
    uint32_t num_supported, current;
    uint64_t frequency[32];
} rsmi_frequencies_t;
_Static_assert(sizeof(rsmi_frequencies_t) == 264, "rsmi_frequencies_t");
_Static_assert(offsetof(rsmi_frequencies_t, frequency) == 8, "rsmi_frequencies_t.frequency");

typedef struct {
    bool has_deep_sleep;
    uint32_t num_supported, current;
    uint64_t frequency[33];
} rsmi_frequencies_wide_t;
_Static_assert(sizeof(rsmi_frequencies_wide_t) == 280, "rsmi_frequencies_wide_t");
_Static_assert(offsetof(rsmi_frequencies_wide_t, num_supported) == 4, "wide num_supported");
_Static_assert(offsetof(rsmi_frequencies_wide_t, frequency) == 16, "wide frequency");

typedef struct {
    rsmi_frequencies_t transfer_rate;
    uint32_t lanes[32];
} rsmi_pcie_bandwidth_t;
_Static_assert(sizeof(rsmi_pcie_bandwidth_t) == 392, "rsmi_pcie_bandwidth_t");
_Static_assert(offsetof(rsmi_pcie_bandwidth_t, lanes) == 264, "rsmi_pcie_bandwidth_t.lanes");

typedef struct {
    rsmi_frequencies_wide_t transfer_rate;
    uint32_t lanes[33];
} rsmi_pcie_bandwidth_wide_t;
_Static_assert(sizeof(rsmi_pcie_bandwidth_wide_t) == 416, "rsmi_pcie_bandwidth_wide_t");
_Static_assert(offsetof(rsmi_pcie_bandwidth_wide_t, lanes) == 280, "wide lanes");

typedef struct { /* revision 1.1; all ones in a field: the card does not tell it */
    uint16_t structure_size;
    uint8_t format_revision, content_revision;
    uint16_t temperature_edge, temperature_hotspot, temperature_mem; /* degrees Celsius */
    uint16_t temperature_vrgfx, temperature_vrsoc, temperature_vrmem;
    uint16_t average_gfx_activity, average_umc_activity, average_mm_activity; /* percent */
    uint16_t average_socket_power;                                            /* W */
    uint64_t energy_accumulator, system_clock_counter;
    uint16_t average_clock[7]; /* MHz, as the next: gfx, soc, u, v0, d0, v1, d1 */
    uint16_t current_gfxclk, current_socclk, current_uclk;
    uint16_t current_vclk0, current_dclk0, current_vclk1, current_dclk1;
    uint32_t throttle_status; /* bits of this very chip */
    uint16_t current_fan_speed;
    uint16_t pcie_link_width, pcie_link_speed; /* lanes, 0.1 GT/s */
    uint16_t padding;
    uint32_t gfx_activity_acc, mem_activity_acc;
    uint16_t temperature_hbm[4];
} rsmi_gpu_metrics_t;
_Static_assert(sizeof(rsmi_gpu_metrics_t) == 96, "rsmi_gpu_metrics_t");
_Static_assert(offsetof(rsmi_gpu_metrics_t, average_socket_power) == 22, "average_socket_power");
_Static_assert(offsetof(rsmi_gpu_metrics_t, current_gfxclk) == 54, "current_gfxclk");
_Static_assert(offsetof(rsmi_gpu_metrics_t, throttle_status) == 68, "throttle_status");
_Static_assert(offsetof(rsmi_gpu_metrics_t, pcie_link_speed) == 76, "pcie_link_speed");
_Static_assert(offsetof(rsmi_gpu_metrics_t, temperature_hbm) == 88, "temperature_hbm");

typedef struct { /* of the newer library; what lies behind revision 1.3 is not simulated */
    rsmi_gpu_metrics_t revision_1_1;
    uint64_t firmware_timestamp;
    uint16_t voltage_soc, voltage_gfx, voltage_mem;
    uint64_t indep_throttle_status; /* bits that mean the same on every chip */
    uint8_t later[1712];
} rsmi_gpu_metrics_wide_t;
_Static_assert(sizeof(rsmi_gpu_metrics_wide_t) == 1832, "rsmi_gpu_metrics_wide_t");
_Static_assert(offsetof(rsmi_gpu_metrics_wide_t, indep_throttle_status) == 112, "indep_throttle");

/* Acquire a snapshot while the driver is loaded; on any other result `*scenario` is NULL. */
rsmi_status_t hcs_rsmi_acquire(const struct hcs_sim_scenario **scenario);

/* Acquire a snapshot and a card that is there; blocks while it hangs. On any other result than
 * success `*scenario` is NULL; on success the caller releases it. `out` is the caller's own result
 * pointer. */
rsmi_status_t hcs_rsmi_enter(uint32_t index, const void *out,
                             const struct hcs_sim_scenario **scenario,
                             const struct hcs_sim_device **device);

/* Copy as much of a text as fits, and say when that was not all. */
rsmi_status_t hcs_rsmi_copy_text(char *out, size_t length, const char *text);

#endif
