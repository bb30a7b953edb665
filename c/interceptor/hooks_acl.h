/* What the files of Ascend's hooks share; included instead of hooks.h. */
#ifndef HCS_HOOKS_ACL_H
#define HCS_HOOKS_ACL_H

#include "hooks.h"

enum {
    ACL_ERROR_UNINITIALIZE = 100001,
    ACL_ERROR_RT_MEMORY_ALLOCATION = 207001,
};
extern const struct hcs_library hcs_acl_library, hcs_acl_runtime_library;
#define OUT_OF_MEMORY ACL_ERROR_RT_MEMORY_ALLOCATION
#define NOT_THERE ACL_ERROR_UNINITIALIZE

/* A card's position in HCS_DEVICES, by its number; -1: it has no quota. */
int hcs_acl_card(int device);

/* The current card's, as the lower layer has it. */
int hcs_acl_runtime_card(void);

#endif
