/* Where the ledger lies, and how it comes into being exactly once.
 *
 * HCS_LEDGER, or "hcs-<pod uid>-<container>-<pid namespace>.ledger" in /dev/shm, and in /tmp where
 * that has no room. Both are private to a container, or survive its restart (an emptyDir): then the
 * pid namespace in the name makes the restarted container begin a new ledger. Mode 0600.
 * Never touched: a file that is not ours, a symbolic link, one that holds anything but a ledger.
 * A copy holds one, and is a second quota: so what the agent is told it is called says also in
 * which file it lies. Who opened it asks the kernel; nothing that can be copied says so. Renamed or
 * linked it stays the same file, seen from any mount: tmpfs, overlayfs and disks alike.
 *
 * The ledger is its first user's: who may write it decides what the others may have. A process of
 * another user finds it and is left without; a second one elsewhere would be a second quota. Such
 * a process is not enforced and does not greet the agent, who hears of it from the driver.
 *
 * No locks: of many processes that start at once each finds the ledger and takes a slot, or finds
 * none, makes one in a file that has no name, and then gives it the name, unless another process
 * was faster: then it joins that one's. So whoever finds a ledger finds a whole one, and who is
 * killed on the way leaves nothing behind, or a slot that will be emptied.
 */
#ifndef HCS_LEDGER_FILE_H
#define HCS_LEDGER_FILE_H

#include "ledger.h"

/* Map the container's ledger, made if necessary, and take a slot in it for the calling process;
 * NULL: not possible, and a debug line says why. Keeps errno. */
struct hcs_ledger *hcs_ledger_open(const struct hcs_config *config, uint64_t now_ns,
                                   unsigned *slot);

/* What the ledger that was opened last is called: by all who use that file, and nobody else. */
uint64_t hcs_ledger_name(void);

#endif
