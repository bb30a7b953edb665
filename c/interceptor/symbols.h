/* The real functions, and who is given ours instead.
 *
 * Programs reach a runtime in three ways: by linking (our exported symbol comes first, being
 * preloaded), by dlsym (we export that too), and by the driver's own cuGetProcAddress (hooked in
 * hooks_cuda.c). A lookup is answered with our hook only where it would have found the very
 * function that the hook calls: another library's function of the same name is left alone.
 */
#ifndef HCS_SYMBOLS_H
#define HCS_SYMBOLS_H

#define HCS_HOOK __attribute__((visibility("default")))

enum hcs_symbol {
    HCS_CU_MEM_ALLOC,
    HCS_CU_MEM_FREE,
    HCS_CU_MEM_GET_INFO,
    HCS_CU_DEVICE_TOTAL_MEM,
    HCS_CU_GET_PROC_ADDRESS,
    HCS_CU_GET_PROC_ADDRESS_V2,
    HCS_CU_CTX_GET_DEVICE,  /* called, not hooked */
    HCS_CU_DEVICE_GET_UUID, /* called, not hooked */
    HCS_ACLRT_MALLOC,
    HCS_ACLRT_FREE,
    HCS_ACLRT_GET_MEM_INFO,
    HCS_ACLRT_GET_DEVICE, /* called, not hooked */
    HCS_SYMBOL_COUNT,
};

/* The vendor's function, NULL when its library is not loaded or has no such symbol. Keeps errno. */
void *hcs_real(enum hcs_symbol symbol);

#endif
