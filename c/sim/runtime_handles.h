/* Physical memory behind handles, as all vendors have it now: it is freed when nobody refers to it
 * any more, neither its creator, nor a retained handle, nor a mapping. */
#ifndef HCS_SIM_RUNTIME_HANDLES_H
#define HCS_SIM_RUNTIME_HANDLES_H

#include <stdbool.h>
#include <stdint.h>

#include "scenario.h"

#define HCS_SIM_HANDLE_GRANULARITY_BYTES (2u * 1024 * 1024)

/* 0: the card has not that much left, or there are too many handles. `context` is what the memory
 * ends with, whoever refers to it; NULL: with nothing. */
uint64_t hcs_sim_handle_create(const struct hcs_sim_device *device, uint64_t bytes,
                               const void *context);

/* Take address space, without any memory behind it. */
uint64_t hcs_sim_addresses_reserve(uint64_t bytes);

/* Each of these: false: no such handle, no such mapping, or the address is taken. */
bool hcs_sim_handle_map(uint64_t address, uint64_t bytes, uint64_t handle);
bool hcs_sim_handle_unmap(uint64_t address, uint64_t bytes); /* whole mappings; 0: of one */
bool hcs_sim_handle_retain(uint64_t address, uint64_t *handle);
bool hcs_sim_handle_release(uint64_t handle);

#endif
