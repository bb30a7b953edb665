/* The part of the CNDev ABI that is simulated: return codes, structures, and the shared helpers.
 *
 * Names, numbers and layouts are those of Cambricon's cndev.h, API version 6; sizes are checked
 * here, at compile time. Structures with a version field are refused when it is not the library's.
 */
#ifndef HCS_SIM_CNDEV_H
#define HCS_SIM_CNDEV_H

#include <stddef.h>
#include <stdint.h>

#include "scenario.h"

#define EXPORT __attribute__((visibility("default")))

typedef enum {
    CNDEV_SUCCESS = 0,
    CNDEV_ERROR_NO_DRIVER = 1,
    CNDEV_ERROR_UNSUPPORTED_API_VERSION = 3,
    CNDEV_ERROR_UNINITIALIZED = 4,
    CNDEV_ERROR_INVALID_ARGUMENT = 5,
    CNDEV_ERROR_INVALID_DEVICE_ID = 6,
    CNDEV_ERROR_INSUFFICIENT_SPACE = 9,
    CNDEV_ERROR_NOT_SUPPORTED = 10,
    CNDEV_ERROR_INVALID_LINK = 11,
    CNDEV_ERROR_TIMEOUT = 17,
    CNDEV_ERROR_IN_PROBLEM = 18
} cndevRet_t;
_Static_assert(sizeof(cndevRet_t) == 4, "a C enum of 4 bytes");

typedef int32_t cndevDevice_t;
typedef struct cndevEventHandle_st *cndevEventHandle;

#define CNDEV_VERSION_6 6
#define CNDEV_UUID_SIZE 37
#define CNDEV_PCI_VENDOR 0xCABCU
#define CNDEV_FEATURE_DISABLED 0
#define CNDEV_FEATURE_ENABLED 1
#define CNDEV_HEALTH_SYSTEM_MAX_INCIDENTS 64
#define CNDEV_HEALTH_RESULT_PASS 0
#define CNDEV_HEALTH_RESULT_WARN 10
#define CNDEV_HEALTH_RESULT_FAIL 20
#define CNDEV_HEALTH_STATE_DEVICE_IN_PROBLEM 0
#define CNDEV_HEALTH_STATE_DEVICE_GOOD 1
#define CNDEV_HEALTH_STATE_DRIVER_RUNNING 4
#define CNDEV_MLULINK_MAC_STATE_DOWN 0
#define CNDEV_MLULINK_MAC_STATE_UP 1
#define cndevEventTypeXidError 1ULL

typedef struct {
    int32_t version;
    uint32_t number;
} cndevCardInfo_t;
_Static_assert(sizeof(cndevCardInfo_t) == 8, "cndevCardInfo_t");

typedef struct {
    int32_t version;
    uint8_t uuid[CNDEV_UUID_SIZE];
    uint64_t ncsUUID64;
} cndevUUID_t;
_Static_assert(sizeof(cndevUUID_t) == 56, "cndevUUID_t");
_Static_assert(offsetof(cndevUUID_t, ncsUUID64) == 48, "cndevUUID_t.ncsUUID64");

typedef struct { /* MB */
    int64_t physicalMemoryTotal, physicalMemoryUsed, reservedMemory;
    int64_t virtualMemoryTotal, virtualMemoryUsed;
    uint64_t globalMemory, reserved[16];
} cndevMemoryInfoV2_t;
_Static_assert(sizeof(cndevMemoryInfoV2_t) == 176, "cndevMemoryInfoV2_t");

typedef struct {
    int32_t version;
    uint32_t pid;
    uint64_t physicalMemoryUsed, virtualMemoryUsed; /* KiB */
} cndevProcessInfo_t;
_Static_assert(sizeof(cndevProcessInfo_t) == 24, "cndevProcessInfo_t");

typedef struct {
    int32_t version;
    uint32_t mcuMajorVersion, mcuMinorVersion, mcuBuildVersion;
    uint32_t driverMajorVersion, driverMinorVersion, driverBuildVersion;
} cndevVersionInfo_t;
_Static_assert(sizeof(cndevVersionInfo_t) == 28, "cndevVersionInfo_t");

typedef struct {
    int32_t version;
    uint32_t libMajorVersion, libMinorVersion, libBuildVersion;
} cndevLibVersionInfo_t;
_Static_assert(sizeof(cndevLibVersionInfo_t) == 16, "cndevLibVersionInfo_t");

typedef struct {
    uint32_t subsystemId, deviceId;
    uint16_t vendor, subsystemVendor;
    uint32_t domain, bus, device, function;
    uint16_t moduleId, slotId;
    uint32_t reserved[8];
} cndevPCIeInfoV2_t;
_Static_assert(sizeof(cndevPCIeInfoV2_t) == 64, "cndevPCIeInfoV2_t");
_Static_assert(offsetof(cndevPCIeInfoV2_t, domain) == 12, "cndevPCIeInfoV2_t.domain");

typedef struct {
    int32_t version, nodeId;
} cndevNUMANodeId_t;
_Static_assert(sizeof(cndevNUMANodeId_t) == 8, "cndevNUMANodeId_t");

typedef struct {
    int32_t version;
    uint64_t sn, motherBoardSn;
} cndevCardSN_t;
_Static_assert(sizeof(cndevCardSN_t) == 24, "cndevCardSN_t");

typedef struct {
    int32_t version, count;
} cndevCardCoreCount_t;
_Static_assert(sizeof(cndevCardCoreCount_t) == 8, "cndevCardCoreCount_t");

typedef struct { /* the word with the highest CPUs comes first */
    int32_t version;
    uint32_t cpuCount, cpuAffinityBitMap[1024];
} cndevAffinity_t;
_Static_assert(sizeof(cndevAffinity_t) == 4104, "cndevAffinity_t");

typedef struct { /* generation, lanes */
    int32_t version, currentSpeed, currentWidth;
} cndevCurrentPCIInfo_t;
_Static_assert(sizeof(cndevCurrentPCIInfo_t) == 12, "cndevCurrentPCIInfo_t");

typedef struct {
    int32_t version, maxSpeed, maxWidth;
} cndevPCIInfo_t;
_Static_assert(sizeof(cndevPCIInfo_t) == 12, "cndevPCIInfo_t");

typedef struct {
    int32_t version;
    uint32_t counter;
} cndevPcieReplayCounter_t;
_Static_assert(sizeof(cndevPcieReplayCounter_t) == 8, "cndevPcieReplayCounter_t");

typedef struct { /* percent */
    int32_t version, averageCoreUtilization, coreUtilization[80];
} cndevUtilizationInfo_t;
_Static_assert(sizeof(cndevUtilizationInfo_t) == 328, "cndevUtilizationInfo_t");

typedef struct { /* W */
    int32_t usage, cap, machine, tdp, maxPower, reserved[16];
} cndevDevicePowerInfo_t;
_Static_assert(sizeof(cndevDevicePowerInfo_t) == 84, "cndevDevicePowerInfo_t");

typedef struct { /* degrees Celsius */
    int32_t version, board, cluster[20], memoryDie[8], chip, airInlet, airOutlet, memory;
    int32_t videoInput, cpu, isp;
} cndevTemperatureInfo_t;
_Static_assert(sizeof(cndevTemperatureInfo_t) == 148, "cndevTemperatureInfo_t");
_Static_assert(offsetof(cndevTemperatureInfo_t, chip) == 120, "cndevTemperatureInfo_t.chip");
_Static_assert(offsetof(cndevTemperatureInfo_t, memory) == 132, "cndevTemperatureInfo_t.memory");

typedef struct { /* MHz */
    int32_t version, boardFreq, ddrFreq;
    uint8_t overtempDfsFlag, fastDfsFlag;
    uint16_t mluClusterFreqCount, mluClusterFreq[20];
    int32_t boardDefaultFreq, boardFreqArange[2];
} cndevFrequencyInfo_t;
_Static_assert(sizeof(cndevFrequencyInfo_t) == 68, "cndevFrequencyInfo_t");
_Static_assert(offsetof(cndevFrequencyInfo_t, boardDefaultFreq) == 56, "boardDefaultFreq");

typedef struct {
    int32_t version;
    uint32_t tdp, powerSetting, clockSetting, frequencyLocked, powerBrake, thermalSlowdown;
} cndevPerformanceThrottleReason_t;
_Static_assert(sizeof(cndevPerformanceThrottleReason_t) == 28, "cndevPerformanceThrottleReason_t");

typedef struct { /* volatile: since the driver was loaded */
    int32_t version;
    uint32_t volatileSramEccSbeCounter, volatileSramEccDbeCounter, volatileSramEccParityCounter;
    uint32_t volatileDramEccSbeCounter, volatileDramEccDbeCounter;
    uint64_t aggregateDramEccSbeCounter, aggregateDramEccDbeCounter;
    uint64_t aggregateSramEccSbeCounter, aggregateSramEccDbeCounter, aggregateSramEccParityCounter;
    bool aggregateSramEccThresholdExceeded;
    uint64_t reserved[11];
} cndevMemEccCounter_t;
_Static_assert(sizeof(cndevMemEccCounter_t) == 160, "cndevMemEccCounter_t");
_Static_assert(offsetof(cndevMemEccCounter_t, volatileDramEccSbeCounter) == 16, "DRAM counters");

typedef struct {
    int32_t version;
    uint64_t oneBitError, multipleOneError, multipleError, multipleMultipleError;
    uint64_t correctedError, uncorrectedError, totalError, addressForbiddenError;
} cndevECCInfo_t;
_Static_assert(sizeof(cndevECCInfo_t) == 72, "cndevECCInfo_t");
_Static_assert(offsetof(cndevECCInfo_t, correctedError) == 40, "cndevECCInfo_t.correctedError");

typedef struct {
    uint64_t correctFecCnt, uncorrectFecCnt, rxBadFcsPkt, txBadFcsPkt, illegalAccessCnt;
    uint64_t reserved[11];
} cndevMLULinkErrorCounter_t;
_Static_assert(sizeof(cndevMLULinkErrorCounter_t) == 128, "cndevMLULinkErrorCounter_t");

typedef struct {
    int32_t version;
    uint64_t cntrReadByte, cntrReadPackage, cntrWriteByte, cntrWritePackage;
    uint64_t errReplay, errFatal, errEccDouble, errCRC24, errCRC32, errCorrected, errUncorrected;
    uint64_t errReadPackage, errWritePackage, errIllegalAccess;
    uint64_t cntrCnpPackage, cntrPfcPackage, statQPInUsing, statTaskAlive;
} cndevMLULinkCounter_t;
_Static_assert(sizeof(cndevMLULinkCounter_t) == 152, "cndevMLULinkCounter_t");
_Static_assert(offsetof(cndevMLULinkCounter_t, errReplay) == 40, "cndevMLULinkCounter_t.errReplay");

typedef struct {
    int32_t version;
    int32_t health; /* 1: good */
    uint32_t deviceState, driverState;
} cndevCardHealthState_t;
_Static_assert(sizeof(cndevCardHealthState_t) == 16, "cndevCardHealthState_t");

typedef struct {
    uint32_t system, health;
    struct {
        char msg[512];
        uint32_t device_id, bdf, code, category, severity;
    } error;
} cndevIncidentInfo_t;
_Static_assert(sizeof(cndevIncidentInfo_t) == 540, "cndevIncidentInfo_t");
_Static_assert(offsetof(cndevIncidentInfo_t, error.code) == 528, "cndevIncidentInfo_t.error.code");

typedef struct {
    int32_t health;
    uint32_t deviceState, driverState, overallHealth, incident_count;
    cndevIncidentInfo_t incidents[CNDEV_HEALTH_SYSTEM_MAX_INCIDENTS];
    uint32_t reserved[8];
} cndevCardHealthStateV2_t;
_Static_assert(sizeof(cndevCardHealthStateV2_t) == 34612, "cndevCardHealthStateV2_t");
_Static_assert(offsetof(cndevCardHealthStateV2_t, incidents) == 20, "incidents");

typedef struct {
    uint32_t macState, serdesState, presenceState, serdesProgress, reserved[7];
} cndevMLULinkStatusV2_t;
_Static_assert(sizeof(cndevMLULinkStatusV2_t) == 44, "cndevMLULinkStatusV2_t");

typedef struct {
    int32_t version;
    uint64_t mcSn, baSn;
    uint32_t slotId, portId;
    uint8_t devIp[16], uuid[CNDEV_UUID_SIZE];
    uint32_t devIpVersion, isIpValid;
    int32_t connectType;
    uint64_t ncsUUID64;
    uint8_t mac_addr[6];
    char port_name[256];
} cndevMLULinkRemoteInfo_t;
_Static_assert(sizeof(cndevMLULinkRemoteInfo_t) == 376, "cndevMLULinkRemoteInfo_t");
_Static_assert(offsetof(cndevMLULinkRemoteInfo_t, uuid) == 48, "remote uuid");
_Static_assert(offsetof(cndevMLULinkRemoteInfo_t, port_name) == 118, "port_name");

typedef struct {
    int32_t version;
    uint32_t dataWidth, bandWidth, bandWidthDecimal; /* bits; GB/s, and what is behind its point */
} cndevDDRInfo_t;
_Static_assert(sizeof(cndevDDRInfo_t) == 16, "cndevDDRInfo_t");

typedef enum { /* where two cards' ways over PCIe meet */
    CNDEV_TOPO_HOST_BRIDGE = 4,
    CNDEV_TOPO_SYSTEM = 6
} cndevTopologyRelationshipEnum_t;

typedef struct {
    int32_t version;
    cndevTopologyRelationshipEnum_t relation;
} cndevTopologyRelationship_t;
_Static_assert(sizeof(cndevTopologyRelationship_t) == 8, "cndevTopologyRelationship_t");

typedef struct {
    uint32_t version;
    cndevDevice_t device;
    uint64_t eventData, eventType, timestamp;
    uint32_t computeInstanceId, mluInstanceId;
    uint64_t reserved[8];
} cndevEventData_t;
_Static_assert(sizeof(cndevEventData_t) == 104, "cndevEventData_t");
_Static_assert(offsetof(cndevEventData_t, eventType) == 16, "cndevEventData_t.eventType");

/* Acquire a snapshot; on any other result than success `*scenario` is NULL. */
cndevRet_t hcs_cndev_acquire(const struct hcs_sim_scenario **scenario);

/* Acquire a snapshot and a card that is there; blocks while it hangs. On any other result than
 * success `*scenario` is NULL; on success the caller releases it. `out` is the caller's own result
 * pointer. */
cndevRet_t hcs_cndev_enter(cndevDevice_t handle, const void *out,
                           const struct hcs_sim_scenario **scenario,
                           const struct hcs_sim_device **device);

/* The same for a structure that begins with the version of the API. */
cndevRet_t hcs_cndev_enter_versioned(cndevDevice_t handle, const int32_t *version,
                                     const struct hcs_sim_scenario **scenario,
                                     const struct hcs_sim_device **device);

/* Whether a card has an MLU-Link port with this number. */
bool hcs_cndev_has_port(const struct hcs_sim_scenario *scenario,
                        const struct hcs_sim_device *device, int port);

/* Forget all event handles; called by the last cndevRelease. */
void hcs_cndev_events_reset(void);

#endif
