/* The simulated libcudart.so.12. It reaches the driver as the real one does: dlopen of
 * libcuda.so.1, dlsym of cuGetProcAddress_v2 alone, everything else through that by plain name, but
 * for its primary contexts, which it has by a table of the driver's that has no name. Devices and
 * errors; memory is in cudart_memory.c, the rest in cudart_work.c. */
#include "cudart.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>

#include "scenario.h"

#define RUNTIME_VERSION 12090

enum { PER_THREAD_STREAM = 2 }; /* the flag that asks for the _ptsz form */

struct hcs_cudart_driver hcs_cudart_driver;
static const struct hcs_cudart_table *table;
static cudaError_t load_error = cudaErrorInitializationError;
static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static CUcontext contexts[HCS_SIM_DEVICES_MAX]; /* the devices' primary ones */
static __thread int current_device;
static __thread cudaError_t last_error;

cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaDeviceReset(void);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaGetDriverEntryPoint(const char *symbol, void **function, unsigned long long flags,
                                    int *status);
cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function,
                                             unsigned version, unsigned long long flags,
                                             int *status);
cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);

static void load(void) {
    static const struct { const char *name; int version, flags; void *target; } wanted[] = {
#define WANTED(NAME, VERSION, PARAMETERS) {#NAME, VERSION, 0, &hcs_cudart_driver.NAME},
#define WANTED_TWICE(NAME, VERSION, OWN_VERSION, PARAMETERS)                                       \
    {#NAME, VERSION, 0, &hcs_cudart_driver.NAME},                                                  \
    {#NAME, OWN_VERSION, PER_THREAD_STREAM, &hcs_cudart_driver.NAME##_ptsz},
        HCS_CUDART_DRIVER(WANTED)
        HCS_CUDART_DRIVER_IN_STREAM(WANTED_TWICE)
    };
    void *library = dlopen("libcuda.so.1", RTLD_LAZY);
    CUresult (*get)(const char *, void **, int, uint64_t, int *) = NULL;
    if (library != NULL) {
        *(void **)&get = dlsym(library, "cuGetProcAddress_v2");
    }
    bool found = get != NULL;
    for (size_t i = 0; found && i < sizeof wanted / sizeof *wanted; i++) {
        int status;
        void **target = wanted[i].target;
        found = get(wanted[i].name, target, wanted[i].version, (uint64_t)wanted[i].flags,
                    &status) == CUDA_SUCCESS && *target != NULL;
    }
    const void *exported = NULL;
    found = found && hcs_cudart_driver.cuGetExportTable(&exported, &HCS_CUDART_TABLE) == 0;
    table = exported;
    /* The numbers of both enums agree where cuInit is concerned. */
    load_error = found ? hcs_cudart_driver.cuInit(0) : cudaErrorInsufficientDriver;
}

cudaError_t hcs_cudart_remember(cudaError_t error) {
    last_error = error != cudaSuccess ? error : last_error;
    return error;
}

cudaError_t hcs_cudart_enter(void) {
    pthread_once(&load_once, load);
    if (load_error != cudaSuccess) {
        return load_error;
    }
    /* Retained by the first call for a device; two that race retain twice, as nobody minds. */
    CUcontext context = __atomic_load_n(&contexts[current_device], __ATOMIC_RELAXED);
    if (context == NULL) {
        CUresult result = table->retain_primary(&context, current_device);
        if (result != CUDA_SUCCESS) {
            return result;
        }
        __atomic_store_n(&contexts[current_device], context, __ATOMIC_RELAXED);
    }
    return hcs_cudart_driver.cuCtxSetCurrent(context);
}

HCS_EXPORT cudaError_t cudaGetDeviceCount(int *count) {
    pthread_once(&load_once, load);
    if (count == NULL) {
        return hcs_cudart_remember(cudaErrorInvalidValue);
    }
    *count = 0;
    return hcs_cudart_remember(
        load_error != cudaSuccess ? load_error : hcs_cudart_driver.cuDeviceGetCount(count));
}

HCS_EXPORT cudaError_t cudaSetDevice(int device) {
    int count = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess && (device < 0 || device >= count)) {
        error = cudaErrorInvalidDevice;
    }
    if (error == cudaSuccess) {
        current_device = device;
        error = hcs_cudart_enter();
    }
    return hcs_cudart_remember(error);
}

HCS_EXPORT cudaError_t cudaGetDevice(int *device) {
    if (device == NULL) {
        return hcs_cudart_remember(cudaErrorInvalidValue);
    }
    *device = current_device;
    return cudaSuccess;
}

HCS_EXPORT cudaError_t cudaDeviceSynchronize(void) { HCS_CUDART_CALL(cuCtxSynchronize()); }

/* The next call begins the context anew. */
HCS_EXPORT cudaError_t cudaDeviceReset(void) {
    cudaError_t error = hcs_cudart_enter();
    if (error == cudaSuccess) {
        error = hcs_cudart_driver.cuDevicePrimaryCtxReset(current_device);
        __atomic_store_n(&contexts[current_device], NULL, __ATOMIC_RELAXED);
    }
    return hcs_cudart_remember(error);
}

HCS_EXPORT cudaError_t cudaRuntimeGetVersion(int *version) {
    if (version == NULL) {
        return hcs_cudart_remember(cudaErrorInvalidValue);
    }
    *version = RUNTIME_VERSION;
    return cudaSuccess;
}

/* 0 without a driver. */
HCS_EXPORT cudaError_t cudaDriverGetVersion(int *version) {
    if (version == NULL) {
        return hcs_cudart_remember(cudaErrorInvalidValue);
    }
    pthread_once(&load_once, load);
    *version = 0;
    return load_error == cudaErrorInsufficientDriver
               ? cudaSuccess
               : hcs_cudart_remember(hcs_cudart_driver.cuDriverGetVersion(version));
}

/* How programs come by the driver's functions without its library; the runtime's flags are the
 * driver's. */
HCS_EXPORT cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function,
                                                        unsigned version,
                                                        unsigned long long flags, int *status) {
    int found;
    HCS_CUDART_CALL(cuGetProcAddress(symbol, function, (int)version, flags,
                                     status != NULL ? status : &found));
}

HCS_EXPORT cudaError_t cudaGetDriverEntryPoint(const char *symbol, void **function,
                                               unsigned long long flags, int *status) {
    return cudaGetDriverEntryPointByVersion(symbol, function, RUNTIME_VERSION, flags, status);
}

HCS_EXPORT cudaError_t cudaGetLastError(void) {
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

HCS_EXPORT cudaError_t cudaPeekAtLastError(void) { return last_error; }
