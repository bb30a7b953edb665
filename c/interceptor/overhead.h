/* What a process has of a card beside what it allocates: its contexts, the code of its kernels, and
 * what the runtimes keep for themselves. No call says how much that is. But the driver's list of
 * who is on a card has it in, and the agent tells each process what that list says of it (wire.h).
 *
 * What the driver says, less what is charged for allocations, is the overhead. Only was the driver
 * asked a while ago, and the charge changes all the time. So we keep the highest charge of a span
 * that begins before the driver was asked and lasts until its word is heard. A hook reserves before
 * the real call allocates and gives back after the real call has freed: at every moment of the span
 * the charge is at least what the driver has given us for it. So
 *
 *     found = what the driver said - the highest charge of the span
 *
 * is never more than the overhead was, however we allocate and free meanwhile, and may be less. The
 * highest of the last few that were found counts: it falls again when there is less, and at once
 * when the driver has nothing of us on the card.
 *
 * A word from before the span is not heard. One begins with the account of the process (the pid may
 * have been another program's before), with each word that was heard, and when a context ended:
 * then nothing is known any more, and nothing charged until the next word. Whoever imports another
 * process's memory may have it counted by the driver, too, though it is charged to its maker: from
 * the first import on nothing is heard, and what is charged stays.
 *
 * It is charged without asking, for it is used already. All of it is in `held_bytes` of the
 * process's own slot (ledger.h), so everybody sees it, and it goes with the slot.
 */
#ifndef HCS_OVERHEAD_H
#define HCS_OVERHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "ledger.h"
#include "wire.h"

/* The process begins its account: none of its threads uses it yet. */
void hcs_overhead_begin(const struct hcs_ledger *ledger, unsigned slot);

/* The agent told what the driver says; true: what is charged changed. */
bool hcs_overhead_heed(struct hcs_ledger *ledger, unsigned slot,
                       const struct hcs_wire_driver *word);

/* A context of the process ended on a card; true: what is charged changed. */
bool hcs_overhead_ended(struct hcs_ledger *ledger, unsigned slot, unsigned device);

/* Before another process's memory is imported. */
void hcs_overhead_keep(void);

/* Forget everything, after a fork in the child. */
void hcs_overhead_forget(void);

#endif
