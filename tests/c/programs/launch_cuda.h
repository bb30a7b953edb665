/* Launches by CUDA's driver API. */
#define LIBRARY "libcuda.so.1"
#define GET_PROC_ADDRESS "cuGetProcAddress_v2"
#define GET_PROC_ADDRESS_HAS_STATUS 1
#define DRIVER(NAME) cu##NAME
#define BEGIN_CAPTURE cuStreamBeginCapture_v2
#include "launch_driver.h"
