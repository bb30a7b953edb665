/* What the interceptor and the agent say to each other; hcs_agents/quota/wire.py reads the same.
 *
 * A SOCK_SEQPACKET socket on one machine: one packet is one message, in native byte order. The
 * process says hello once per connection, then usage; the agent may ask for a reclaim, and tells
 * what the driver says of the process. Text is padded with zeros and always ends with one.
 * Evolution: a new version is a new HCS_WIRE_VERSION; the agent serves every version it knows, and
 * closes the connection on any other. What the agent says in another version than ours, or of a
 * type that we do not know, is not heard: it may say more than before without a new version.
 */
#ifndef HCS_WIRE_H
#define HCS_WIRE_H

#include <stdint.h>

#define HCS_WIRE_MAGIC 0x51534348u /* "HCSQ" */
#define HCS_WIRE_VERSION 2 /* 2: who launches, and how often */
#define HCS_WIRE_DEVICES_MAX 16   /* cards of one container: no node has more */
#define HCS_WIRE_POD_UID_BYTES 40 /* a UUID has 36 */
#define HCS_WIRE_CONTAINER_BYTES 64 /* a container's name is a DNS label: 63 */
#define HCS_WIRE_DEVICE_ID_BYTES 96 /* NVML's longest UUID, with its end */

enum hcs_wire_type {
    HCS_WIRE_HELLO = 1,   /* process -> agent, first */
    HCS_WIRE_USAGE = 2,   /* process -> agent, at most ten a second */
    HCS_WIRE_RECLAIM = 3, /* agent -> process: a neighbour in your container ended; only a header */
    HCS_WIRE_DRIVER = 4,  /* agent -> process: what the driver says that you have of your cards */
};

struct hcs_wire_header {
    uint32_t magic;
    uint16_t version;
    uint16_t type;
    uint32_t size; /* of the whole message */
    uint32_t lost; /* messages that found the socket full since the process started */
};

struct hcs_wire_hello {
    struct hcs_wire_header header;
    int32_t pid;           /* as the process sees itself */
    uint32_t device_count;
    uint64_t epoch_ns;     /* names the ledger: when it was made, and in which file */
    uint64_t process;      /* process.h's word: the same on all its connections, nobody else's */
    char pod_uid[HCS_WIRE_POD_UID_BYTES];
    char container[HCS_WIRE_CONTAINER_BYTES];
    char device_ids[HCS_WIRE_DEVICES_MAX][HCS_WIRE_DEVICE_ID_BYTES];
    uint64_t quota_bytes[HCS_WIRE_DEVICES_MAX];
};

struct hcs_wire_device_usage {
    uint64_t used_bytes;
    uint64_t peak_bytes;
    uint64_t refusals;
};

struct hcs_wire_usage { /* the whole container's, but for the launches, whoever sends it */
    struct hcs_wire_header header;
    uint64_t epoch_ns; /* the ledger this comes from */
    uint64_t revision; /* when that was read: of two from one ledger, the higher is newer */
    uint64_t launches; /* of the process that sends this, on all cards, ever */
    uint32_t device_count;
    uint32_t unlimited; /* cards of which the sender does not keep to its share, a bit for each */
    struct hcs_wire_device_usage devices[HCS_WIRE_DEVICES_MAX];
};

#define HCS_WIRE_NOT_TOLD UINT64_MAX /* the driver does not say, or was not asked */

struct hcs_wire_driver {
    struct hcs_wire_header header;
    uint64_t epoch_ns;     /* the hello's */
    uint64_t looked_at_ns; /* on the monotonic clock, before the driver was asked */
    uint32_t device_count; /* the hello's, as is the order of the cards */
    uint32_t reserved;
    uint64_t used_bytes[HCS_WIRE_DEVICES_MAX]; /* or HCS_WIRE_NOT_TOLD */
};

_Static_assert(sizeof(struct hcs_wire_header) == 16, "header");
_Static_assert(sizeof(struct hcs_wire_hello) == 1808, "hello");
_Static_assert(sizeof(struct hcs_wire_device_usage) == 24, "device usage");
_Static_assert(sizeof(struct hcs_wire_usage) == 432, "usage");
_Static_assert(sizeof(struct hcs_wire_driver) == 168, "driver");

#endif
