/* The part of the NVML ABI that is simulated: return codes, structures, and the shared state.
 *
 * Names, numbers and layouts are those of NVIDIA's nvml.h (API 13); sizes are checked here, at
 * compile time. What is not here is not exported, and a caller sees the same as with an old driver:
 * the symbol is missing.
 */
#ifndef HCS_SIM_NVML_H
#define HCS_SIM_NVML_H

#include <stddef.h>
#include <stdint.h>

#include "scenario.h"

#define EXPORT __attribute__((visibility("default")))

typedef enum {
    NVML_SUCCESS = 0,
    NVML_ERROR_UNINITIALIZED = 1,
    NVML_ERROR_INVALID_ARGUMENT = 2,
    NVML_ERROR_NOT_SUPPORTED = 3,
    NVML_ERROR_INSUFFICIENT_SIZE = 7,
    NVML_ERROR_DRIVER_NOT_LOADED = 9,
    NVML_ERROR_TIMEOUT = 10,
    NVML_ERROR_GPU_IS_LOST = 15,
    NVML_ERROR_INSUFFICIENT_RESOURCES = 23,
    NVML_ERROR_ARGUMENT_VERSION_MISMATCH = 25
} nvmlReturn_t;
_Static_assert(sizeof(nvmlReturn_t) == 4, "a C enum of 4 bytes");

typedef struct nvmlDevice_st *nvmlDevice_t;
typedef struct nvmlEventSet_st *nvmlEventSet_t;

#define NVML_NVLINK_MAX_LINKS 36
#define NVML_FI_DEV_GET_GPU_RECOVERY_ACTION 230
#define NVML_VALUE_TYPE_UNSIGNED_INT 1
#define NVML_EVENT_XID_CRITICAL_ERROR 0x8ULL
#define NVML_NVLINK_DEVICE_TYPE_GPU 0
#define NVML_NVLINK_DEVICE_TYPE_SWITCH 2
#define NVML_NO_INSTANCE 0xFFFFFFFFU /* gpuInstanceId and computeInstanceId without MIG */
#define NVML_PCI_VENDOR 0x10DEU

typedef struct {
    char busIdLegacy[16];
    unsigned domain, bus, device;
    unsigned pciDeviceId, pciSubSystemId;
    char busId[32];
} nvmlPciInfo_t;
_Static_assert(sizeof(nvmlPciInfo_t) == 68, "nvmlPciInfo_t");
_Static_assert(offsetof(nvmlPciInfo_t, busId) == 36, "nvmlPciInfo_t.busId");

typedef struct {
    uint64_t total, free, used;
} nvmlMemory_t;
_Static_assert(sizeof(nvmlMemory_t) == 24, "nvmlMemory_t");

typedef struct {
    unsigned version;
    uint64_t total, reserved, free, used;
} nvmlMemory_v2_t;
_Static_assert(sizeof(nvmlMemory_v2_t) == 40, "nvmlMemory_v2_t");
_Static_assert(offsetof(nvmlMemory_v2_t, used) == 32, "nvmlMemory_v2_t.used");
#define NVML_MEMORY_V2 (sizeof(nvmlMemory_v2_t) | (2U << 24))

typedef union {
    double dVal;
    int siVal;
    unsigned uiVal;
    uint64_t ullVal;
} nvmlValue_t;

typedef struct {
    unsigned fieldId, scopeId;
    int64_t timestamp, latencyUsec;
    int valueType;
    nvmlReturn_t nvmlReturn;
    nvmlValue_t value;
} nvmlFieldValue_t;
_Static_assert(sizeof(nvmlFieldValue_t) == 40, "nvmlFieldValue_t");
_Static_assert(offsetof(nvmlFieldValue_t, value) == 32, "nvmlFieldValue_t.value");

typedef struct {
    nvmlDevice_t device;
    uint64_t eventType, eventData;
    unsigned gpuInstanceId, computeInstanceId;
} nvmlEventData_t;
_Static_assert(sizeof(nvmlEventData_t) == 32, "nvmlEventData_t");

/* Say whether an nvmlInit is in force. */
bool hcs_nvml_initialised(void);

/* The number over the node behind a handle, or -1 when the handle is none of ours. */
int hcs_nvml_number(nvmlDevice_t handle);

nvmlDevice_t hcs_nvml_handle(unsigned number);

/* Acquire a snapshot and the card behind a handle. On any other result than success `*scenario` is
 * NULL; on success the caller releases it. */
nvmlReturn_t hcs_nvml_enter(nvmlDevice_t handle, const struct hcs_sim_scenario **scenario,
                            const struct hcs_sim_device **device);

void hcs_nvml_fill_pci(nvmlPciInfo_t *out, unsigned domain, unsigned bus, unsigned device);

/* Forget all event sets; called by the last nvmlShutdown. */
void hcs_nvml_events_reset(void);

#endif
