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
    RSMI_STATUS_INSUFFICIENT_SIZE = 11,
    RSMI_STATUS_UNKNOWN_ERROR = 0xFFFFFFFF
} rsmi_status_t;
_Static_assert(sizeof(rsmi_status_t) == 4, "a C enum of 4 bytes");

typedef enum { RSMI_MEM_TYPE_VRAM = 0 } rsmi_memory_type_t;
typedef enum { RSMI_SW_COMP_DRIVER = 0 } rsmi_sw_component_t;
typedef enum { RSMI_IOLINK_TYPE_PCIEXPRESS = 1, RSMI_IOLINK_TYPE_XGMI = 2 } RSMI_IO_LINK_TYPE;

typedef enum {
    RSMI_GPU_BLOCK_UMC = 0x1,
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

#endif
