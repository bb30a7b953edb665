/* What every hook does around the real call, whatever the runtime (hooks.h has it as macros):
 *
 *     allocate:  if (!hcs_enter()) return real();      a hooked call inside a hooked call: not ours
 *                charge = hcs_reserve(card, bytes);    refused: do not even try
 *                result = real(&address);
 *                hcs_settle(charge, address or 0);     0 gives the reservation back
 *                hcs_leave();
 *     free:      charge = hcs_take(address);           before the real free: afterwards the address
 *                result = real(address);               may already be somebody else's
 *                hcs_settle(charge, freed ? 0 : address);
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

#include "blocks.h"
#include "ledger.h"

/* A block of blocks.h that is charged, or one of these. */
typedef uint64_t hcs_charge;
#define HCS_UNENFORCED 0 /* no quota, or no ledger: let the call through, keep no account of it */
#define HCS_REFUSED 1

/* Begin the outermost hooked call of this thread; false: we are inside one already. */
bool hcs_enter(void);
void hcs_leave(void);

/* For symbols.c and cards.c: the vendor's library lacks a function that we call, or what it says of
 * the card is none that we know. */
void hcs_missed(void);

/* A hook found no card, and takes memory or time all the same: if it missed a function, perhaps of
 * one with a quota; the process counts as enforced no more. */
void hcs_found_no_card(void);

/* `card` is the position in HCS_DEVICES; a negative one has no quota. `context` is the number of
 * what the memory ends with, from 1; or see blocks.h. */
hcs_charge hcs_reserve_in(int card, unsigned context, uint64_t bytes);
static inline hcs_charge hcs_reserve(int card, uint64_t bytes) {
    return hcs_reserve_in(card, 0, bytes);
}
hcs_charge hcs_take(uint64_t address);

void hcs_remember(hcs_charge charge, uint64_t address);
void hcs_give_back(hcs_charge charge);
static inline void hcs_settle(hcs_charge charge, uint64_t address) {
    if (charge == HCS_UNENFORCED) {
        return;
    }
    if (address != 0) {
        hcs_remember(charge, address);
    } else {
        hcs_give_back(charge);
    }
}

/* All that this process holds of a card ended, or what ends with that context. */
void hcs_ended(int card, unsigned context);

/* Show the quota instead of the card: never more than is there, never less than nothing. Any of
 * the pointers may be NULL. */
void hcs_show_quota(int card, uint64_t *free_bytes, uint64_t *total_bytes);

/* For report.c: the process's ledger and slot, NULL before the first hooked call or without
 * enforcement. */
struct hcs_ledger *hcs_account_ledger(unsigned *slot);

/* For share.c: the ledger, joined with the first call; NULL when it has no account of the card. */
struct hcs_ledger *hcs_account_ledger_of(int card);

#endif
