/* The vendors' functions that we stand in front of, in our own declarations (no vendor header is
 * needed to build): types are as wide as theirs, results are their enums as int. */
#ifndef HCS_HOOKS_H
#define HCS_HOOKS_H

#include <stddef.h>
#include <stdint.h>

#include "symbols.h"

HCS_HOOK int cuMemAlloc_v2(uint64_t *pointer, size_t bytes);
HCS_HOOK int cuMemFree_v2(uint64_t pointer);
HCS_HOOK int cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes);
HCS_HOOK int cuDeviceTotalMem_v2(size_t *bytes, int device);
HCS_HOOK int cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags);
HCS_HOOK int cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags,
                                 int *status);

HCS_HOOK int aclrtMalloc(void **pointer, size_t bytes, int policy);
HCS_HOOK int aclrtFree(void *pointer);
HCS_HOOK int aclrtGetMemInfo(int attribute, size_t *free_bytes, size_t *total_bytes);

#endif
