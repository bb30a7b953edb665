/* What the files of Cambricon's hooks share; included instead of hooks.h. */
#ifndef HCS_HOOKS_CNRT_H
#define HCS_HOOKS_CNRT_H

#include "hooks.h"

enum {
    CN_ERROR_NOT_READY = 1,
    CN_ERROR_NOT_INITIALIZED = 100002,
    CN_MEMORY_ERROR_OUT_OF_MEMORY = 100100, /* cnrtErrorNoMem is the same */
};
extern const struct hcs_library hcs_cnrt_library, hcs_cndrv_library;
#define OUT_OF_MEMORY CN_MEMORY_ERROR_OUT_OF_MEMORY
#define NOT_THERE CN_ERROR_NOT_INITIALIZED

extern struct hcs_cards hcs_cnrt_cards;

/* The current card's position in HCS_DEVICES, as either layer has it; -1: it has no quota. */
int hcs_cnrt_card(void);
int hcs_cndrv_card(void);

#endif
