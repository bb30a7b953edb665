/* The part of the MTML ABI that is simulated: return codes and structures.
 *
 * Names, numbers and layouts are those of Moore Threads' own Python binding (mthreads-ml-py); sizes
 * are checked here, at compile time.
 */
#ifndef HCS_SIM_MTML_H
#define HCS_SIM_MTML_H

#include <stddef.h>
#include <stdint.h>

#include "scenario.h"

#define EXPORT __attribute__((visibility("default")))

typedef enum {
    MTML_SUCCESS = 0,
    MTML_ERROR_DRIVER_NOT_LOADED = 1,
    MTML_ERROR_INVALID_ARGUMENT = 3,
    MTML_ERROR_NOT_SUPPORTED = 4,
    MTML_ERROR_INSUFFICIENT_SIZE = 6,
    MTML_ERROR_UNINITIALIZED = 666,
    MTML_ERROR_GPU_IS_LOST = 669
} MtmlReturn;
_Static_assert(sizeof(MtmlReturn) == 4, "a C enum of 4 bytes");

typedef struct MtmlLibrary MtmlLibrary;
typedef struct MtmlSystem MtmlSystem;
typedef struct MtmlDevice MtmlDevice;
typedef struct MtmlMemory MtmlMemory;
typedef struct MtmlGpu MtmlGpu;

#define MTML_PCI_VENDOR 0x1ED5U
#define MTML_MTLINK_STATE_DOWN 0U
#define MTML_MTLINK_STATE_UP 1U
#define MTML_TOPOLOGY_HOSTBRIDGE 3U
#define MTML_TOPOLOGY_SYSTEM 5U
#define MTML_MEMORY_ERROR_TYPE_CORRECTED 0U
#define MTML_MEMORY_ERROR_TYPE_UNCORRECTED 1U
#define MTML_VOLATILE_ECC 0U
#define MTML_MEMORY_LOCATION_DRAM 1U

typedef struct {
    char sbdf[32];
    unsigned segment, bus, device, pciDeviceId, pciSubsystemId, busWidth;
    float pciMaxSpeed, pciCurSpeed;
    unsigned pciMaxWidth, pciCurWidth, pciMaxGen, pciCurGen;
    int rsvd[6];
} MtmlPciInfo;
_Static_assert(sizeof(MtmlPciInfo) == 104, "MtmlPciInfo");
_Static_assert(offsetof(MtmlPciInfo, segment) == 32, "MtmlPciInfo.segment");
_Static_assert(offsetof(MtmlPciInfo, pciMaxGen) == 72, "MtmlPciInfo.pciMaxGen");
_Static_assert(offsetof(MtmlPciInfo, rsvd) == 80, "MtmlPciInfo.rsvd");

typedef struct {
    unsigned version, bandWidth, linkNum, rsvd[4];
} MtmlMtLinkSpec;
_Static_assert(sizeof(MtmlMtLinkSpec) == 28, "MtmlMtLinkSpec");
_Static_assert(offsetof(MtmlMtLinkSpec, linkNum) == 8, "MtmlMtLinkSpec.linkNum");

/* Objects of one kind: one per card of the node, whatever its vendor, told apart by address. */
typedef char MtmlObjects[HCS_SIM_DEVICES_MAX];
extern MtmlObjects hcs_mtml_devices, hcs_mtml_memories, hcs_mtml_gpus;

/* Acquire a snapshot and the card behind one of `objects`; blocks while it hangs. On any other
 * result than success `*scenario` is NULL; on success the caller releases it. `out` is the caller's
 * result pointer. */
MtmlReturn hcs_mtml_enter(const MtmlObjects objects, const void *object, const void *out,
                          const struct hcs_sim_scenario **scenario,
                          const struct hcs_sim_device **device);

#endif
