/* What the files of HIP's hooks share; included instead of hooks.h. */
#ifndef HCS_HOOKS_HIP_H
#define HCS_HOOKS_HIP_H

#include "hooks.h"

enum { HIP_ERROR_OUT_OF_MEMORY = 2, HIP_ERROR_NOT_INITIALIZED = 3 };
extern const struct hcs_library hcs_hip_library;
#define LIBRARY hcs_hip_library
#define OUT_OF_MEMORY HIP_ERROR_OUT_OF_MEMORY
#define NOT_THERE HIP_ERROR_NOT_INITIALIZED

extern struct hcs_cards hcs_hip_cards;

/* The current card's position in HCS_DEVICES; -1: it has no quota. */
int hcs_hip_current_card(void);

#endif
