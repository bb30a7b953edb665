/* Where the ledger lies, and how it comes into being exactly once.
 *
 * HCS_LEDGER, or "hcs-<pod uid>-<container>-<pid namespace>.ledger" in /dev/shm, and in /tmp where
 * that has no room. Both are private to a container, or survive its restart (an emptyDir): then the
 * pid namespace in the name makes the restarted container begin a new ledger. Mode 0600.
 * Never touched: a file that is not ours, a symbolic link, one that holds anything but a ledger.
 */
#ifndef HCS_LEDGER_FILE_H
#define HCS_LEDGER_FILE_H

#include "ledger.h"

/* Map the container's ledger, made if necessary, and take a slot in it for the calling process,
 * one process at a time; NULL: not possible, and a debug line says why. */
struct hcs_ledger *hcs_ledger_open(const struct hcs_config *config, uint64_t now_ns,
                                   unsigned *slot);

#endif
