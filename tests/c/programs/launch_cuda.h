/* Launches by CUDA's driver API. */
#define LIBRARY "libcuda.so.1"
#define GET_PROC_ADDRESS "cuGetProcAddress_v2"
#define GET_PROC_ADDRESS_HAS_STATUS 1
#define DRIVER(NAME) cu##NAME
#define BEGIN_CAPTURE cuStreamBeginCapture_v2
#define HAS_OLDER_LAUNCHES
#define OLDER_LAUNCHES(X)                                                                          \
    X(cuLaunch, (void *))                                                                          \
    X(cuLaunchGrid, (void *, int, int))                                                            \
    X(cuLaunchGridAsync, (void *, int, int, void *))                                               \
    X(cuLaunchCooperativeKernelMultiDevice, (const struct cooperative *, unsigned, unsigned))
#include "launch_driver.h"
