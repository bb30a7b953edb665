/* What every hook does around the real call, whatever the runtime:
 *
 *     allocate:  if (!hcs_enter()) return real();      a hooked call inside a hooked call: not ours
 *                charge = hcs_reserve(card, bytes);    refused: do not even try
 *                result = real(&address);
 *                hcs_settle(&charge, address or 0);    0 gives the reservation back
 *                hcs_leave();
 *     free:      charge = hcs_take(address);           before the real free: afterwards the address
 *                result = real(address);               may already be somebody else's
 *                hcs_finish_free(&charge, address, freed?);
 *
 * The reservation comes first: between asking and allocating nobody else can get the same bytes.
 * The account of a process begins with its first hooked call, anew in a forked child: what the
 * parent holds stays the parent's. None of these changes errno.
 */
#ifndef HCS_ACCOUNT_H
#define HCS_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ledger.h"

struct hcs_charge {
    enum hcs_verdict verdict;
    unsigned device;
    uint64_t bytes;
};

/* Begin the outermost hooked call of this thread; false: we are inside one already. */
bool hcs_enter(void);
void hcs_leave(void);

/* `device` is the position in HCS_DEVICES; a negative one has no quota. */
struct hcs_charge hcs_reserve(int device, uint64_t bytes);
void hcs_settle(const struct hcs_charge *charge, uint64_t address);

struct hcs_charge hcs_take(uint64_t address);
void hcs_finish_free(const struct hcs_charge *charge, uint64_t address, bool freed);

/* Show the quota instead of the card: never more than is there, never less than nothing. */
void hcs_show_quota(int device, size_t *free_bytes, size_t *total_bytes);

/* For report.c: the process's ledger, NULL before the first hooked call or without enforcement. */
struct hcs_ledger *hcs_account_ledger(void);

#endif
