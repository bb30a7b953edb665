/* What the files of Moore Threads' hooks share; included instead of hooks.h. */
#ifndef HCS_HOOKS_MUSA_H
#define HCS_HOOKS_MUSA_H

#include "hooks.h"

enum { MUSA_ERROR_OUT_OF_MEMORY = 2, MUSA_ERROR_NOT_INITIALIZED = 3 };
extern const struct hcs_library hcs_musart_library, hcs_musa_library;
#define OUT_OF_MEMORY MUSA_ERROR_OUT_OF_MEMORY
#define NOT_THERE MUSA_ERROR_NOT_INITIALIZED

extern struct hcs_cards hcs_musa_cards;

/* The current card's position in HCS_DEVICES, as either layer has it; -1: it has no quota. */
int hcs_musart_card(void);
int hcs_musa_card(void);

#endif
