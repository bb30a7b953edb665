/* Launches by Moore Threads' driver. */
#define LIBRARY "libmusa.so"
#define GET_PROC_ADDRESS "muGetProcAddress"
#define GET_PROC_ADDRESS_HAS_STATUS 0
#define DRIVER(NAME) mu##NAME
#define BEGIN_CAPTURE muStreamBeginCapture
#include "launch_driver.h"
