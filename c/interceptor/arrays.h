/* What arrays and mipmapped arrays take of a card, for the hooks of CUDA and HIP. */
#ifndef HCS_ARRAYS_H
#define HCS_ARRAYS_H

#include "hooks.h"

struct hcs_array_descriptor { /* CUDA_ARRAY_DESCRIPTOR, HIP_ARRAY_DESCRIPTOR */
    size_t width, height;
    unsigned format, channels;
};
struct hcs_array3d_descriptor { /* CUDA_ARRAY3D_DESCRIPTOR, HIP_ARRAY3D_DESCRIPTOR */
    size_t width, height, depth;
    unsigned format, channels, flags;
};
struct hcs_array_extent { /* hipExtent; a height or depth of 0 counts as 1 */
    size_t width, height, depth;
};

/* Of one channel, for the formats that have channels; the packed ones take a byte or two a texel,
 * and count as one byte: too little by at most that, for what only graphics programs use. */
static inline uint64_t hcs_array_format_bytes(unsigned format) {
    switch (format) {
    case 0x02: case 0x09: case 0x10: /* 16 bits: unsigned, signed, half */
        return 2;
    case 0x03: case 0x0a: case 0x20: /* 32 bits: unsigned, signed, float */
        return 4;
    default:
        return 1;
    }
}

/* So many levels, of which each has half the extent of the one before, in every direction. */
static inline uint64_t hcs_array_bytes(struct hcs_array_extent extent, uint64_t texel_bytes,
                                       unsigned levels) {
    uint64_t bytes = 0;
    for (; levels > 0 && bytes < HCS_LEDGER_BYTES_MAX; levels--) {
        uint64_t texels = hcs_product(extent.width, extent.height > 0 ? extent.height : 1);
        texels = hcs_product(texels, extent.depth > 0 ? extent.depth : 1);
        uint64_t of_level = hcs_product(texels, texel_bytes);
        bytes = of_level < HCS_LEDGER_BYTES_MAX ? bytes + of_level : UINT64_MAX;
        extent.width = extent.width > 1 ? extent.width / 2 : extent.width;
        extent.height = extent.height > 1 ? extent.height / 2 : extent.height;
        extent.depth = extent.depth > 1 ? extent.depth / 2 : extent.depth;
    }
    return bytes;
}

/* Without a descriptor there is nothing to charge, and the driver will say so. */
static inline uint64_t hcs_array3d_bytes(const struct hcs_array3d_descriptor *array,
                                         unsigned levels) {
    if (array == NULL) {
        return 0;
    }
    struct hcs_array_extent extent = {array->width, array->height, array->depth};
    return hcs_array_bytes(extent, array->channels * hcs_array_format_bytes(array->format),
                           levels);
}
static inline uint64_t hcs_array2d_bytes(const struct hcs_array_descriptor *array) {
    if (array == NULL) {
        return 0;
    }
    struct hcs_array3d_descriptor flat = {array->width,  array->height,   0,
                                          array->format, array->channels, 0};
    return hcs_array3d_bytes(&flat, 1);
}

#endif
