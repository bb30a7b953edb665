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

/* Names a file with a line "N CODE" for each card over the node that answers everything with that
 * return code, e.g. 999; read on the way to a card. */
#define HCS_SIM_NVML_REFUSALS_ENV "HCS_SIM_NVML_REFUSALS"

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
#define NVML_VALUE_TYPE_UNSIGNED_INT 1
#define NVML_VALUE_TYPE_UNSIGNED_LONG_LONG 3
#define NVML_TEMPERATURE_GPU 0
#define NVML_EVENT_XID_CRITICAL_ERROR 0x8ULL
#define NVML_NVLINK_DEVICE_TYPE_GPU 0
#define NVML_NVLINK_DEVICE_TYPE_SWITCH 2
#define NVML_TOPOLOGY_HOSTBRIDGE 30
#define NVML_TOPOLOGY_SYSTEM 50
#define NVML_NO_INSTANCE 0xFFFFFFFFU /* gpuInstanceId and computeInstanceId without MIG */
#define NVML_PCI_VENDOR 0x10DEU

enum { /* fields of nvmlDeviceGetFieldValues */
    NVML_FI_DEV_ECC_SBE_VOL_TOTAL = 3,
    NVML_FI_DEV_ECC_DBE_VOL_TOTAL = 4,
    NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL = 38,
    NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL = 45,
    NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL = 52,
    NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL = 59,
    NVML_FI_DEV_MEMORY_TEMP = 82,
    NVML_FI_DEV_PCIE_REPLAY_COUNTER = 94,
    NVML_FI_DEV_GET_GPU_RECOVERY_ACTION = 230
};
enum { NVML_CLOCK_GRAPHICS = 0, NVML_CLOCK_SM = 1, NVML_CLOCK_MEM = 2, NVML_CLOCK_VIDEO = 3 };

/* Why the clocks are not higher: bits. */
#define NVML_EVENT_REASON_GPU_IDLE 0x1ULL
#define NVML_EVENT_REASON_SW_POWER_CAP 0x4ULL
#define NVML_EVENT_REASON_HW_SLOWDOWN 0x8ULL
#define NVML_EVENT_REASON_SYNC_BOOST 0x10ULL
#define NVML_EVENT_REASON_SW_THERMAL_SLOWDOWN 0x20ULL
#define NVML_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN 0x80ULL

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

typedef struct {
    unsigned gpu, memory; /* percent */
} nvmlUtilization_t;
_Static_assert(sizeof(nvmlUtilization_t) == 8, "nvmlUtilization_t");

typedef struct {
    unsigned version;
    int sensorType;
    int temperature;
} nvmlTemperature_v1_t;
_Static_assert(sizeof(nvmlTemperature_v1_t) == 12, "nvmlTemperature_v1_t");
#define NVML_TEMPERATURE_V1 (sizeof(nvmlTemperature_v1_t) | (1U << 24))

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

typedef struct { /* of the second and third version of the function */
    unsigned pid;
    uint64_t usedGpuMemory; /* bytes */
    unsigned gpuInstanceId, computeInstanceId;
} nvmlProcessInfo_t;
_Static_assert(sizeof(nvmlProcessInfo_t) == 24, "nvmlProcessInfo_t");

typedef struct {
    nvmlDevice_t device;
    uint64_t eventType, eventData;
    unsigned gpuInstanceId, computeInstanceId;
} nvmlEventData_t;
_Static_assert(sizeof(nvmlEventData_t) == 32, "nvmlEventData_t");

/* Say whether an nvmlInit is in force, and the driver it was made with. */
bool hcs_nvml_initialised(void);

/* Say whether a card is lost to this session: it is away, or was when the session asked for it. */
bool hcs_nvml_lost(const struct hcs_sim_device *device);

/* Acquire a snapshot while the driver is loaded. On any other result than success `*scenario` is
 * NULL; on success the caller releases it. */
nvmlReturn_t hcs_nvml_acquire(const struct hcs_sim_scenario **scenario);

/* The number over the node behind a handle, or -1 when the handle is none of ours. */
int hcs_nvml_number(nvmlDevice_t handle);

nvmlDevice_t hcs_nvml_handle(unsigned number);

/* Acquire a snapshot and the card behind a handle, once that card does not hang. On any other
 * result than success `*scenario` is NULL; on success the caller releases it. */
nvmlReturn_t hcs_nvml_enter(nvmlDevice_t handle, const struct hcs_sim_scenario **scenario,
                            const struct hcs_sim_device **device);

/* Copy a text into the caller's buffer as NVML does: whole or not at all. */
nvmlReturn_t hcs_nvml_copy_text(char *out, unsigned length, const char *text);

void hcs_nvml_fill_pci(nvmlPciInfo_t *out, unsigned domain, unsigned bus, unsigned device);

/* Say whether a card has NVLinks, up or down. */
bool hcs_nvml_has_links(const struct hcs_sim_scenario *scenario, unsigned number);

/* Forget all event sets: they end with the last nvmlShutdown, and with the driver. */
void hcs_nvml_events_reset(void);

#endif
