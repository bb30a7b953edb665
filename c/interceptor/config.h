/* What the environment says, read once when the library is loaded.
 *
 *   HCS_VRAM_QUOTA    bytes per visible card, decimal: one number for all cards, or a list with
 *                     commas in visibility order, as long as HCS_DEVICES. Unset or empty: no quota,
 *                     we are not there. Anything else that is not such a list ("16Gi", "-1", "1,",
 *                     more than 63 bits): no quota either, and a debug line; only the webhook
 *                     writes it, and a broken list must not stop a training job. "0" is a number:
 *                     nothing may be allocated. Reading it as "no limit" would let one slip in
 *                     arithmetic open the card at the cost of the neighbours; refused memory hurts
 *                     only this Pod, and is seen at once.
 *   HCS_COMPUTE_SHARE a percentage, 1 to 100, of each card's time, for all processes together; one
 *                     for every card or a list in the order of HCS_DEVICES. Unset, empty or 100: no
 *                     limit. Malformed: no limit either.
 *   HCS_DEVICES       the cards' ids (UUID or serial), comma separated, in visibility order.
 *   HCS_DEVICE_INDICES  the node's numbers of the same cards, in the same order, for the runtimes
 *                     whose visibility variable counts so. Unset, or not as long: not known.
 *   HCS_POD_UID, HCS_CONTAINER   whose quota it is; names the ledger and the sender of usage.
 *   HCS_AGENT_SOCKET  where usage goes; unset: nowhere.
 *   HCS_LEDGER        the ledger's file; unset: in /dev/shm, else /tmp (see ledger_file.h).
 *   HCS_DEBUG         set: say on stderr why there is no enforcement.
 */
#ifndef HCS_CONFIG_H
#define HCS_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "wire.h"

#define HCS_PATH_BYTES 512
#define HCS_SOCKET_PATH_BYTES 108 /* sockaddr_un's */

struct hcs_config {
    bool enforced;         /* false: every call goes straight through */
    unsigned device_count; /* cards with a quota */
    bool devices_named;    /* false: HCS_DEVICES was not given; cards go by their ordinal */
    uint64_t quota_bytes[HCS_WIRE_DEVICES_MAX];
    bool compute_limited; /* some card's share is below 100 */
    uint8_t share_percent[HCS_WIRE_DEVICES_MAX];
    char device_ids[HCS_WIRE_DEVICES_MAX][HCS_WIRE_DEVICE_ID_BYTES];
    unsigned index_count; /* as many as cards, or 0 */
    uint64_t device_indices[HCS_WIRE_DEVICES_MAX];
    char pod_uid[HCS_WIRE_POD_UID_BYTES];
    char container[HCS_WIRE_CONTAINER_BYTES];
    char socket_path[HCS_SOCKET_PATH_BYTES]; /* empty: report to nobody */
    char ledger_path[HCS_PATH_BYTES];        /* empty: the default */
};

/* The process's configuration. Safe to call before the constructors have run. */
const struct hcs_config *hcs_config(void);

/* The pure part, for tests: values are NULL when not set. False: malformed, `enforced` is false. */
bool hcs_config_parse_quota(const char *quota, const char *devices, struct hcs_config *out);

/* The same for the share, after the quota. Without a quota the share still needs an account: then
 * `enforced` becomes true with a quota that nobody reaches. */
bool hcs_config_parse_share(const char *share, const char *devices, struct hcs_config *out);

#endif
