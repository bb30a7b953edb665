/* The simulated libcudart.so.12. It reaches the driver as the real one does: dlopen of
 * libcuda.so.1, dlsym of cuGetProcAddress_v2 alone, everything else through that by plain name. */
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "cuda.h"
#include "scenario.h"

typedef int cudaError_t;
enum {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorInitializationError = 3,
    cudaErrorInsufficientDriver = 35,
    cudaErrorInvalidDevice = 101,
};

#define RUNTIME_VERSION 12090

static struct {
    CUresult (*init)(unsigned);
    CUresult (*device_count)(int *);
    CUresult (*retain)(CUcontext *, CUdevice);
    CUresult (*set_current)(CUcontext);
    CUresult (*allocate)(CUdeviceptr *, size_t);
    CUresult (*release)(CUdeviceptr);
    CUresult (*allocate_managed)(CUdeviceptr *, size_t, unsigned);
    CUresult (*allocate_pitch)(CUdeviceptr *, size_t *, size_t, size_t, unsigned);
    CUresult (*allocate_async)(CUdeviceptr *, size_t, void *);
    CUresult (*release_async)(CUdeviceptr, void *);
    CUresult (*create_array)(void **, const CUDA_ARRAY3D_DESCRIPTOR *);
    CUresult (*destroy_array)(void *);
    CUresult (*memory_info)(size_t *, size_t *);
    CUresult (*synchronize)(void);
    CUresult (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                       void *, void **, void **);
} driver;
static cudaError_t load_error = cudaErrorInitializationError;
static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static CUcontext contexts[HCS_SIM_DEVICES_MAX]; /* the devices' primary ones */
static __thread int current_device;
static __thread cudaError_t last_error;

struct dim3 {
    unsigned x, y, z;
};

struct cudaChannelFormatDesc {
    int x, y, z, w; /* bits of each channel */
    int f;          /* cudaChannelFormatKind */
};

cudaError_t cudaMalloc(void **pointer, size_t bytes);
cudaError_t cudaFree(void *pointer);
cudaError_t cudaMallocManaged(void **pointer, size_t bytes, unsigned flags);
cudaError_t cudaMallocPitch(void **pointer, size_t *pitch, size_t width, size_t height);
cudaError_t cudaMallocAsync(void **pointer, size_t bytes, void *stream);
cudaError_t cudaFreeAsync(void *pointer, void *stream);
cudaError_t cudaMallocArray(void **array, const struct cudaChannelFormatDesc *channels,
                            size_t width, size_t height, unsigned flags);
cudaError_t cudaFreeArray(void *array);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaLaunchKernel(const void *function, struct dim3 grid, struct dim3 block,
                             void **parameters, size_t shared_bytes, void *stream);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaGetLastError(void);

static void load(void) {
    void *library = dlopen("libcuda.so.1", RTLD_LAZY);
    CUresult (*get)(const char *, void **, int, uint64_t, int *) = NULL;
    if (library != NULL) {
        *(void **)&get = dlsym(library, "cuGetProcAddress_v2");
    }
    if (get == NULL) {
        load_error = cudaErrorInsufficientDriver;
        return;
    }
    const struct { const char *name; int version; void *target; } wanted[] = {
        {"cuInit", 2000, &driver.init},
        {"cuDeviceGetCount", 2000, &driver.device_count},
        {"cuDevicePrimaryCtxRetain", 7000, &driver.retain},
        {"cuCtxSetCurrent", 4000, &driver.set_current},
        {"cuMemAlloc", 3020, &driver.allocate},
        {"cuMemFree", 3020, &driver.release},
        {"cuMemAllocManaged", 6000, &driver.allocate_managed},
        {"cuMemAllocPitch", 3020, &driver.allocate_pitch},
        {"cuMemAllocAsync", 11020, &driver.allocate_async},
        {"cuMemFreeAsync", 11020, &driver.release_async},
        {"cuArray3DCreate", 3020, &driver.create_array},
        {"cuArrayDestroy", 2000, &driver.destroy_array},
        {"cuMemGetInfo", 3020, &driver.memory_info},
        {"cuCtxSynchronize", 2000, &driver.synchronize},
        {"cuLaunchKernel", 4000, &driver.launch},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        int status;
        void **target = wanted[i].target;
        if (get(wanted[i].name, target, wanted[i].version, 0, &status) != 0 || *target == NULL) {
            load_error = cudaErrorInsufficientDriver;
            return;
        }
    }
    load_error = driver.init(0); /* the numbers of both enums agree where cuInit is concerned */
}

static cudaError_t remember(cudaError_t error) {
    last_error = error != cudaSuccess ? error : last_error;
    return error;
}

/* Make the thread's device current, as the runtime does before every call that needs one. */
static cudaError_t enter(void) {
    pthread_once(&load_once, load);
    if (load_error != cudaSuccess) {
        return load_error;
    }
    /* Retained by the first call for a device; two that race retain twice, as nobody minds. */
    CUcontext context = __atomic_load_n(&contexts[current_device], __ATOMIC_RELAXED);
    if (context == NULL) {
        CUresult result = driver.retain(&context, current_device);
        if (result != CUDA_SUCCESS) {
            return result;
        }
        __atomic_store_n(&contexts[current_device], context, __ATOMIC_RELAXED);
    }
    return driver.set_current(context);
}

HCS_EXPORT cudaError_t cudaMalloc(void **pointer, size_t bytes) {
    cudaError_t error = pointer == NULL ? cudaErrorInvalidValue : enter();
    if (error != cudaSuccess) {
        return remember(error);
    }
    CUdeviceptr address = 0;
    error = bytes == 0 ? cudaSuccess : driver.allocate(&address, bytes);
    if (error == cudaSuccess) {
        *pointer = (void *)(uintptr_t)address;
    }
    return remember(error);
}

HCS_EXPORT cudaError_t cudaFree(void *pointer) {
    cudaError_t error = enter();
    if (error == cudaSuccess && pointer != NULL) {
        error = driver.release((CUdeviceptr)(uintptr_t)pointer);
    }
    return remember(error);
}

/* What the driver allocated, if it did. */
static cudaError_t hand_out(void **pointer, cudaError_t error, CUdeviceptr address) {
    if (error == cudaSuccess) {
        *pointer = (void *)(uintptr_t)address;
    }
    return remember(error);
}

HCS_EXPORT cudaError_t cudaMallocManaged(void **pointer, size_t bytes, unsigned flags) {
    CUdeviceptr address = 0;
    cudaError_t error = pointer == NULL ? cudaErrorInvalidValue : enter();
    error = error == cudaSuccess ? driver.allocate_managed(&address, bytes, flags) : error;
    return hand_out(pointer, error, address);
}

HCS_EXPORT cudaError_t cudaMallocPitch(void **pointer, size_t *pitch, size_t width,
                                       size_t height) {
    CUdeviceptr address = 0;
    cudaError_t error = pointer == NULL ? cudaErrorInvalidValue : enter();
    error = error == cudaSuccess ? driver.allocate_pitch(&address, pitch, width, height, 4) : error;
    return hand_out(pointer, error, address);
}

HCS_EXPORT cudaError_t cudaMallocAsync(void **pointer, size_t bytes, void *stream) {
    CUdeviceptr address = 0;
    cudaError_t error = pointer == NULL ? cudaErrorInvalidValue : enter();
    error = error == cudaSuccess ? driver.allocate_async(&address, bytes, stream) : error;
    return hand_out(pointer, error, address);
}

HCS_EXPORT cudaError_t cudaFreeAsync(void *pointer, void *stream) {
    cudaError_t error = enter();
    CUdeviceptr address = (CUdeviceptr)(uintptr_t)pointer;
    return remember(error == cudaSuccess ? driver.release_async(address, stream) : error);
}

/* The driver's number for channels of so many bits: signed, unsigned or floating. */
static unsigned format_of(const struct cudaChannelFormatDesc *channels) {
    static const unsigned formats[3][3] = {
        {0x08, 0x09, 0x0a}, {0x01, 0x02, 0x03}, {0x00, 0x10, 0x20}};
    unsigned width = channels->x == 32 ? 2 : channels->x == 16 ? 1 : 0;
    return channels->f >= 0 && channels->f < 3 ? formats[channels->f][width] : 0;
}

HCS_EXPORT cudaError_t cudaMallocArray(void **array, const struct cudaChannelFormatDesc *channels,
                                       size_t width, size_t height, unsigned flags) {
    cudaError_t error = channels == NULL ? cudaErrorInvalidValue : enter();
    if (error == cudaSuccess) {
        unsigned count = (unsigned)((channels->x > 0) + (channels->y > 0) + (channels->z > 0) +
                                    (channels->w > 0));
        CUDA_ARRAY3D_DESCRIPTOR descriptor = {width, height, 0, format_of(channels), count, flags};
        error = driver.create_array(array, &descriptor);
    }
    return remember(error);
}

HCS_EXPORT cudaError_t cudaFreeArray(void *array) {
    cudaError_t error = enter();
    return remember(error == cudaSuccess && array != NULL ? driver.destroy_array(array) : error);
}

HCS_EXPORT cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    cudaError_t error = enter();
    return remember(error == cudaSuccess ? driver.memory_info(free_bytes, total_bytes) : error);
}

HCS_EXPORT cudaError_t cudaGetDeviceCount(int *count) {
    pthread_once(&load_once, load);
    if (count == NULL) {
        return remember(cudaErrorInvalidValue);
    }
    *count = 0;
    return remember(load_error != cudaSuccess ? load_error : driver.device_count(count));
}

HCS_EXPORT cudaError_t cudaSetDevice(int device) {
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess && (device < 0 || device >= count)) {
        error = cudaErrorInvalidDevice;
    }
    if (error == cudaSuccess) {
        current_device = device;
        error = enter();
    }
    return remember(error);
}

HCS_EXPORT cudaError_t cudaGetDevice(int *device) {
    if (device == NULL) {
        return remember(cudaErrorInvalidValue);
    }
    *device = current_device;
    return cudaSuccess;
}

HCS_EXPORT cudaError_t cudaDeviceSynchronize(void) {
    cudaError_t error = enter();
    return remember(error == cudaSuccess ? driver.synchronize() : error);
}

/* A kernel's address on the host stands for the driver's handle of it. */
HCS_EXPORT cudaError_t cudaLaunchKernel(const void *function, struct dim3 grid, struct dim3 block,
                                        void **parameters, size_t shared_bytes, void *stream) {
    cudaError_t error = enter();
    if (error == cudaSuccess) {
        error = driver.launch((void *)(uintptr_t)function, grid.x, grid.y, grid.z, block.x,
                              block.y, block.z, (unsigned)shared_bytes, stream, parameters, NULL);
    }
    return remember(error);
}

HCS_EXPORT cudaError_t cudaRuntimeGetVersion(int *version) {
    if (version == NULL) {
        return remember(cudaErrorInvalidValue);
    }
    *version = RUNTIME_VERSION;
    return cudaSuccess;
}

HCS_EXPORT cudaError_t cudaGetLastError(void) {
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}
