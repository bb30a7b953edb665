/* See symbols.h. */
#define _GNU_SOURCE
#include "symbols.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "hooks.h"

HCS_HOOK void *dlsym(void *restrict handle, const char *restrict name);

typedef void *dlsym_function(void *restrict, const char *restrict);

static const char CUDA_LIBRARY[] = "libcuda.so.1";
static const char ACL_LIBRARY[] = "libascendcl.so";

static const struct {
    const char *name;
    const char *library;
    void *hook; /* NULL: only called by us */
} symbols[HCS_SYMBOL_COUNT] = {
    [HCS_CU_MEM_ALLOC] = {"cuMemAlloc_v2", CUDA_LIBRARY, cuMemAlloc_v2},
    [HCS_CU_MEM_FREE] = {"cuMemFree_v2", CUDA_LIBRARY, cuMemFree_v2},
    [HCS_CU_MEM_GET_INFO] = {"cuMemGetInfo_v2", CUDA_LIBRARY, cuMemGetInfo_v2},
    [HCS_CU_DEVICE_TOTAL_MEM] = {"cuDeviceTotalMem_v2", CUDA_LIBRARY, cuDeviceTotalMem_v2},
    [HCS_CU_GET_PROC_ADDRESS] = {"cuGetProcAddress", CUDA_LIBRARY, cuGetProcAddress},
    [HCS_CU_GET_PROC_ADDRESS_V2] = {"cuGetProcAddress_v2", CUDA_LIBRARY, cuGetProcAddress_v2},
    [HCS_CU_CTX_GET_DEVICE] = {"cuCtxGetDevice", CUDA_LIBRARY, NULL},
    [HCS_CU_DEVICE_GET_UUID] = {"cuDeviceGetUuid", CUDA_LIBRARY, NULL},
    [HCS_ACLRT_MALLOC] = {"aclrtMalloc", ACL_LIBRARY, aclrtMalloc},
    [HCS_ACLRT_FREE] = {"aclrtFree", ACL_LIBRARY, aclrtFree},
    [HCS_ACLRT_GET_MEM_INFO] = {"aclrtGetMemInfo", ACL_LIBRARY, aclrtGetMemInfo},
    [HCS_ACLRT_GET_DEVICE] = {"aclrtGetDevice", ACL_LIBRARY, NULL},
};
static void *real_functions[HCS_SYMBOL_COUNT];
static dlsym_function *real_dlsym_found;

/* The versions under which the C library exports dlsym: since it is one (x86-64, AArch64), and
 * since libdl became part of libc. Old versions stay exported. */
static dlsym_function *find_dlsym(void) {
    static const char *const versions[] = {"GLIBC_2.34", "GLIBC_2.17", "GLIBC_2.2.5"};
    dlsym_function *found = NULL;
    for (size_t i = 0; found == NULL && i < sizeof versions / sizeof *versions; i++) {
        found = (dlsym_function *)dlvsym(RTLD_NEXT, "dlsym", versions[i]);
    }
    __atomic_store_n(&real_dlsym_found, found, __ATOMIC_RELEASE);
    return found;
}

/* Also before our constructor has run: other libraries' constructors look up symbols. */
static inline dlsym_function *real_dlsym(void) {
    dlsym_function *found = __atomic_load_n(&real_dlsym_found, __ATOMIC_ACQUIRE);
    return found != NULL ? found : find_dlsym();
}

static void *resolve(enum hcs_symbol symbol) {
    int saved_errno = errno;
    void *function = NULL;
    void *library = dlopen(symbols[symbol].library, RTLD_LAZY | RTLD_NOLOAD);
    if (library != NULL) {
        /* The handle is kept: what we call must not be unloaded under us. */
        function = real_dlsym()(library, symbols[symbol].name);
    }
    __atomic_store_n(&real_functions[symbol], function, __ATOMIC_RELEASE);
    errno = saved_errno;
    return function;
}

void *hcs_real(enum hcs_symbol symbol) {
    void *function = __atomic_load_n(&real_functions[symbol], __ATOMIC_ACQUIRE);
    return function != NULL ? function : resolve(symbol);
}

/* The hook for what this lookup finds, or NULL. */
static void *hook_for(void *handle, const char *name) {
    for (unsigned i = 0; i < HCS_SYMBOL_COUNT; i++) {
        if (symbols[i].hook != NULL && strcmp(symbols[i].name, name) == 0) {
            void *real = hcs_real(i);
            if (real == NULL) {
                return NULL;
            }
            /* RTLD_NEXT means "behind the caller": only the real lookup, tail-called, knows who
             * that is; behind anybody but ourselves stands the vendor's function. */
            void *found = handle == RTLD_NEXT ? real : real_dlsym()(handle, name);
            return found == real || found == symbols[i].hook ? symbols[i].hook : NULL;
        }
    }
    return NULL;
}

/* Must end in a jump, not a call: RTLD_NEXT and RTLD_DEFAULT are resolved relative to whoever the
 * return address belongs to. interceptor.mk compiles this file so, and a test looks. */
void *dlsym(void *restrict handle, const char *restrict name) {
    bool candidate = strncmp(name, "cu", 2) == 0 || strncmp(name, "acl", 3) == 0;
    void *hook = candidate ? hook_for(handle, name) : NULL;
    return hook != NULL ? hook : real_dlsym()(handle, name);
}
