/* The arrays of the simulated libamdhip64.so: by the runtime's description and by the driver's. */
#include <stdbool.h>

#include "hip.h"

static uint64_t texels(struct hipExtent extent) {
    return (uint64_t)extent.width * (extent.height > 0 ? extent.height : 1) *
           (extent.depth > 0 ? extent.depth : 1);
}

/* Levels of half the extent each, in every direction. */
static hipError_t allocate(void **array, uint64_t texel_bytes, struct hipExtent extent,
                           unsigned levels) {
    uint64_t count = 0;
    for (; levels > 0; levels--) {
        count += texels(extent);
        extent.width = extent.width > 1 ? extent.width / 2 : extent.width;
        extent.height = extent.height > 1 ? extent.height / 2 : extent.height;
        extent.depth = extent.depth > 1 ? extent.depth / 2 : extent.depth;
    }
    bool sane = array != NULL && texel_bytes > 0 && count > 0;
    return sane ? hipMalloc(array, texel_bytes * count) : hipErrorInvalidValue;
}

static uint64_t channels_bytes(const struct hipChannelFormatDesc *channels) {
    int bits = channels != NULL ? channels->x + channels->y + channels->z + channels->w : 0;
    return (uint64_t)bits / 8;
}

HCS_EXPORT hipError_t hipMallocArray(void **array, const struct hipChannelFormatDesc *channels,
                                     size_t width, size_t height, unsigned flags) {
    (void)flags;
    return allocate(array, channels_bytes(channels), (struct hipExtent){width, height, 0}, 1);
}

HCS_EXPORT hipError_t hipMalloc3DArray(void **array, const struct hipChannelFormatDesc *channels,
                                       struct hipExtent extent, unsigned flags) {
    (void)flags;
    return allocate(array, channels_bytes(channels), extent, 1);
}

HCS_EXPORT hipError_t hipFreeArray(void *array) { return hipFree(array); }

HCS_EXPORT hipError_t hipMallocMipmappedArray(void **array,
                                              const struct hipChannelFormatDesc *channels,
                                              struct hipExtent extent, unsigned levels,
                                              unsigned flags) {
    (void)flags;
    return allocate(array, channels_bytes(channels), extent, levels);
}

HCS_EXPORT hipError_t hipFreeMipmappedArray(void *array) { return hipFree(array); }

static uint64_t format_bytes(unsigned format) {
    bool two = format == 0x02 || format == 0x09 || format == 0x10;
    bool four = format == 0x03 || format == 0x0a || format == 0x20;
    return two ? 2 : four ? 4 : 1;
}

HCS_EXPORT hipError_t hipArrayCreate(void **array,
                                     const struct HIP_ARRAY_DESCRIPTOR *descriptor) {
    if (descriptor == NULL) {
        return hipErrorInvalidValue;
    }
    return allocate(array, descriptor->NumChannels * format_bytes(descriptor->Format),
                    (struct hipExtent){descriptor->Width, descriptor->Height, 0}, 1);
}

HCS_EXPORT hipError_t hipMipmappedArrayCreate(void **array,
                                              const struct HIP_ARRAY3D_DESCRIPTOR *descriptor,
                                              unsigned levels) {
    if (descriptor == NULL) {
        return hipErrorInvalidValue;
    }
    return allocate(
        array, descriptor->NumChannels * format_bytes(descriptor->Format),
        (struct hipExtent){descriptor->Width, descriptor->Height, descriptor->Depth}, levels);
}

HCS_EXPORT hipError_t hipArray3DCreate(void **array,
                                       const struct HIP_ARRAY3D_DESCRIPTOR *descriptor) {
    return hipMipmappedArrayCreate(array, descriptor, 1);
}

HCS_EXPORT hipError_t hipArrayDestroy(void *array) { return hipFree(array); }

HCS_EXPORT hipError_t hipMipmappedArrayDestroy(void *array) { return hipFree(array); }
