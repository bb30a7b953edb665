/* What the files of CUDA's hooks share; included instead of hooks.h. */
#ifndef HCS_HOOKS_CUDA_H
#define HCS_HOOKS_CUDA_H

#include "hooks.h"

enum {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NOT_INITIALIZED = 3,
};
extern const struct hcs_library hcs_cuda_library;
#define LIBRARY hcs_cuda_library
#define OUT_OF_MEMORY CUDA_ERROR_OUT_OF_MEMORY
#define NOT_THERE CUDA_ERROR_NOT_INITIALIZED

extern struct hcs_cards hcs_cuda_cards;

/* The current context: its card's position, -1 without one, and its number (account.h). */
struct hcs_cuda_place {
    int card;
    unsigned context;
};
struct hcs_cuda_place hcs_cuda_current(void);

/* The number of the card that a CUmemLocation means; -1: none. CUDA 13.4 has names for parts of a
 * card's memory, and the card's number then in the lowest byte. */
enum { HCS_CUDA_LOCATION_DEVICE = 1, HCS_CUDA_LOCATION_PART_OF_DEVICE = 6 };
static inline int hcs_cuda_device_at(int location_type, int location_id) {
    int device = location_type == HCS_CUDA_LOCATION_PART_OF_DEVICE ? location_id & 0xff : -1;
    return location_type == HCS_CUDA_LOCATION_DEVICE ? location_id : device;
}

#endif
