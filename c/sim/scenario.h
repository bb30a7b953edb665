/* The scenario: what the simulated hardware of one node is like at this moment.
 *
 * One INI file per node, named by the environment variable HCS_SIM_SCENARIO and replaced atomically
 * (written beside, then renamed) by hcs_agents/simulation/scenario.py. Every library holds its own
 * copy of this code (hidden symbols) and looks at the file's inode, size and modification time on
 * each acquire: a change is seen by the next call into the library, and no reader ever sees a half.
 *
 * A snapshot is immutable and counted: acquire it, read it, release it; it stays valid in between
 * whatever happens to the file. All functions may be called from any thread.
 */
#ifndef HCS_SIM_SCENARIO_H
#define HCS_SIM_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HCS_SIM_SCENARIO_ENV "HCS_SIM_SCENARIO"

/* Limits; a file beyond one of them is refused as a whole. */
#define HCS_SIM_DEVICES_MAX 64              /* cards of one node, all vendors together */
#define HCS_SIM_LINKS_MAX 512               /* pairs: a full mesh of 32 cards has 496 */
#define HCS_SIM_EVENTS_MAX 1024             /* the writer keeps fewer and drops the oldest */
#define HCS_SIM_FAULTS_MAX 512              /* active at the same time */
#define HCS_SIM_TEXT_MAX 96                 /* bytes of one value with its end, as NVML's longest */
#define HCS_SIM_CODE_MAX 48                 /* bytes of a fault code with its end */
#define HCS_SIM_FILE_BYTES_MAX (1024 * 1024)

enum hcs_sim_vendor {
    HCS_SIM_NVIDIA = 1,
    HCS_SIM_HUAWEI,
    HCS_SIM_HYGON,
    HCS_SIM_CAMBRICON,
    HCS_SIM_MTHREADS
};
enum hcs_sim_link_type {
    HCS_SIM_NVLINK = 1,
    HCS_SIM_NVSWITCH,
    HCS_SIM_HCCS,
    HCS_SIM_XGMI,
    HCS_SIM_MLU_LINK,
    HCS_SIM_MTLINK
};

enum hcs_sim_throttle {
    HCS_SIM_THROTTLE_NONE = 0,
    HCS_SIM_THROTTLE_POWER,
    HCS_SIM_THROTTLE_THERMAL,
    HCS_SIM_THROTTLE_HARDWARE,
    HCS_SIM_THROTTLE_OTHER
};

struct hcs_sim_device {
    unsigned number;             /* N of [device.N]: the number over the whole node */
    enum hcs_sim_vendor vendor;
    char model[HCS_SIM_TEXT_MAX]; /* as the vendor's library reports it */
    char id[HCS_SIM_TEXT_MAX];    /* UUID or serial number */
    unsigned pci_domain, pci_bus, pci_device, pci_function;
    int numa;                    /* -1: the platform does not say */
    uint64_t vram_bytes;
    uint64_t memory_used_bytes;
    uint64_t context_bytes;      /* what each context takes for itself */
    unsigned memory_bandwidth_gbytes_s; /* as its library tells; 0: that does not */
    int temperature_c;
    unsigned power_mw;
    int memory_temperature_c;
    unsigned utilization_percent, memory_utilization_percent;
    unsigned core_clock_mhz, core_clock_max_mhz, memory_clock_mhz;
    enum hcs_sim_throttle throttle;
    unsigned speed_percent;      /* 1..100: of what its model can do */
    uint64_t ecc_corrected, ecc_uncorrected, pcie_replays, link_errors;
    unsigned pcie_generation, pcie_generation_max, pcie_width, pcie_width_max;
    char serial[HCS_SIM_TEXT_MAX]; /* of the board; empty in the file: the id */
    char firmware[HCS_SIM_TEXT_MAX];
    bool present;                /* false: fallen off the bus */
    bool hangs;                  /* calls about it do not return; see hcs_sim_device_wait */
    unsigned recovery_action;    /* what NVML's field 230 says */
};

struct hcs_sim_link {
    unsigned a, b; /* device numbers, a < b */
    enum hcs_sim_link_type type;
    unsigned lanes;
    bool up;
};

struct hcs_sim_event {
    uint64_t number; /* K of [event.K]: grows for ever */
    unsigned device; /* device number */
    char code[HCS_SIM_CODE_MAX];
    bool raised;     /* false: cleared */
    int64_t at_ns;   /* since the epoch */
};

struct hcs_sim_fault { /* active now */
    unsigned device;
    char code[HCS_SIM_CODE_MAX];
    uint64_t count; /* how often it was raised, for the vendors that count errors */
};

struct hcs_sim_scenario {
    char node[HCS_SIM_TEXT_MAX];
    uint64_t generation; /* grows with each write of the file */
    char nvidia_driver[HCS_SIM_TEXT_MAX];
    char ascend_driver[HCS_SIM_TEXT_MAX];
    char hygon_driver[HCS_SIM_TEXT_MAX];
    char cambricon_driver[HCS_SIM_TEXT_MAX];
    char mthreads_driver[HCS_SIM_TEXT_MAX];
    bool rocm_smi_wide; /* the newer rocm_smi, whose structures grew */
    bool driver_down[HCS_SIM_MTHREADS + 1]; /* by vendor: not loaded now */
    size_t device_count, link_count, event_count, fault_count;
    struct hcs_sim_device devices[HCS_SIM_DEVICES_MAX]; /* by number, without holes */
    struct hcs_sim_link links[HCS_SIM_LINKS_MAX];
    struct hcs_sim_event events[HCS_SIM_EVENTS_MAX];    /* by number */
    struct hcs_sim_fault faults[HCS_SIM_FAULTS_MAX];
};

/* Return the current snapshot, or NULL when there is none: the variable is unset, or no readable
 * scenario was ever seen. A file that turns unreadable leaves the last good one in force. */
const struct hcs_sim_scenario *hcs_sim_scenario_acquire(void);

/* Give a snapshot back; NULL is allowed. */
void hcs_sim_scenario_release(const struct hcs_sim_scenario *scenario);

/* Block until the file may have changed since `seen`, or for `timeout_ms` at most. It may return
 * early: the caller acquires again and looks. `seen` is the snapshot last looked at, or NULL. */
void hcs_sim_scenario_wait(const struct hcs_sim_scenario *seen, unsigned timeout_ms);

/* Parse one file's text, which need not end in a zero. Return 0, or -1: `out` is then unusable. */
int hcs_sim_scenario_parse(const char *text, size_t length, struct hcs_sim_scenario *out);

/* How many cards of a vendor the node has, lost ones included: numbering does not move. */
unsigned hcs_sim_device_count(const struct hcs_sim_scenario *scenario, enum hcs_sim_vendor vendor);

/* The vendor's own index-th card, or NULL. The pointer lives as long as the snapshot. */
const struct hcs_sim_device *hcs_sim_device_at(const struct hcs_sim_scenario *scenario,
                                               enum hcs_sim_vendor vendor, unsigned index);

/* Block while the scenario says that calls about card `number` hang. Every library calls this on
 * its way to a card, with no snapshot acquired, so that the change which ends it is seen. */
void hcs_sim_device_wait(unsigned number);

/* The vendor's own index of a card of that vendor. */
unsigned hcs_sim_index_of(const struct hcs_sim_scenario *scenario,
                          const struct hcs_sim_device *device);

/* The link between two cards in either order, or NULL. */
const struct hcs_sim_link *hcs_sim_link_between(const struct hcs_sim_scenario *scenario, unsigned a,
                                                unsigned b);

/* How often a fault in force on a card was raised, 0 when it is not in force. */
uint64_t hcs_sim_fault_count(const struct hcs_sim_scenario *scenario, unsigned device,
                             const char *code);

/* Number of the newest event, 0 when there was none. */
uint64_t hcs_sim_last_event(const struct hcs_sim_scenario *scenario);

#endif
