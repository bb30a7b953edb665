/* Physical memory behind a handle (cuMemCreate and its like): freed when its last reference goes.
 *
 * The creator, each retain and each mapping is one reference. Programs release the handle right
 * after mapping it: giving the charge back then would let them have as many as they like. What was
 * imported from another process is not known here, so it is charged to that process alone.
 *
 * What happens to it when the card is reset only HIP's source tells: there it ends. Elsewhere it is
 * taken to go on, as CUDA's does: who resets a card and keeps the memory must not have it twice.
 */
#ifndef HCS_HANDLES_H
#define HCS_HANDLES_H

#include <stddef.h>
#include <stdint.h>

#include "account.h"

/* Returns the handle, as the key of its charge. */
uint64_t hcs_handle_created(uint64_t handle);
void hcs_handle_retained(uint64_t handle);
void hcs_handle_mapped(uint64_t handle, uint64_t address, size_t bytes);

/* Drop the creator's or a retained reference before the call that does so: the charge, if it was
 * the last one. And take it back: the call failed. */
hcs_charge hcs_handle_release(uint64_t handle);
void hcs_handle_not_released(uint64_t handle, hcs_charge charge);

/* The mappings that make up exactly a range; none of ours: 0 bytes. */
struct hcs_unmapped {
    uint64_t address, bytes;
};

/* Before the call that unmaps a range (`bytes` 0: the mapping that begins there) its mappings are
 * put aside, as their addresses may soon be somebody else's. After it their references are dropped
 * and charges given back; or, if it failed, they are mappings again. */
struct hcs_unmapped hcs_handle_unmap(uint64_t address, size_t bytes);
void hcs_handle_give_back(const struct hcs_unmapped *unmapped);
void hcs_handle_not_unmapped(const struct hcs_unmapped *unmapped);

/* Forget everything, after a fork in the child. */
void hcs_handles_forget(void);

#endif
