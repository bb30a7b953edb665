/* Memory of another process, of all vendors whose driver lists who is on a card: it is charged to
 * who made it, but may be in what the driver says of the importer, too (overhead.h). */
#include "hooks.h"

#include "overhead.h"

extern const struct hcs_library hcs_cuda_library, hcs_hip_library, hcs_acl_library,
    hcs_acl_runtime_library, hcs_cnrt_library, hcs_cndrv_library;

#define HCS_IMPORTS(FUNCTION, PARAMETERS, ARGUMENTS)                                              \
    HCS_AROUND(FUNCTION, PARAMETERS, ARGUMENTS, hcs_overhead_keep(), (void)0)

struct ipc_handle { /* CUipcMemHandle, hipIpcMemHandle_t */
    char reserved[64];
};

#define LIBRARY hcs_cuda_library
#define NOT_THERE 3 /* CUDA_ERROR_NOT_INITIALIZED, hipErrorNotInitialized */
HCS_IMPORTS(cuIpcOpenMemHandle, (uint64_t *pointer, struct ipc_handle handle, unsigned flags),
            (pointer, handle, flags));
HCS_IMPORTS(cuIpcOpenMemHandle_v2, (uint64_t *pointer, struct ipc_handle handle, unsigned flags),
            (pointer, handle, flags));
HCS_IMPORTS(cuMemImportFromShareableHandle, (uint64_t *handle, void *exported, int type),
            (handle, exported, type));
HCS_IMPORTS(cuMemPoolImportFromShareableHandle,
            (void **pool, void *exported, int type, uint64_t flags),
            (pool, exported, type, flags));
HCS_IMPORTS(cuImportExternalMemory, (void **memory, const void *descriptor), (memory, descriptor));

#undef LIBRARY
#define LIBRARY hcs_hip_library
HCS_IMPORTS(hipIpcOpenMemHandle, (void **pointer, struct ipc_handle handle, unsigned flags),
            (pointer, handle, flags));
HCS_IMPORTS(hipMemImportFromShareableHandle, (void **handle, void *exported, int type),
            (handle, exported, type));
HCS_IMPORTS(hipMemPoolImportFromShareableHandle,
            (void **pool, void *exported, int type, unsigned flags),
            (pool, exported, type, flags));
HCS_IMPORTS(hipImportExternalMemory, (void **memory, const void *descriptor),
            (memory, descriptor));

#undef LIBRARY
#undef NOT_THERE
#define LIBRARY hcs_acl_library
#define NOT_THERE 100001 /* ACL_ERROR_UNINITIALIZE */
HCS_IMPORTS(aclrtIpcMemImportByKey, (void **pointer, const char *key, uint64_t flags),
            (pointer, key, flags));
HCS_IMPORTS(aclrtMemImportFromShareableHandle, (uint64_t exported, int32_t device, void **handle),
            (exported, device, handle));
HCS_IMPORTS(aclrtMemImportFromShareableHandleV2,
            (void *exported, int type, uint64_t flags, void **handle),
            (exported, type, flags, handle));

#undef LIBRARY
#define LIBRARY hcs_acl_runtime_library
HCS_IMPORTS(rtIpcOpenMemory, (void **pointer, const char *key), (pointer, key));
HCS_IMPORTS(rtMemImportFromShareableHandle, (uint64_t exported, int32_t device, void **handle),
            (exported, device, handle));

#undef LIBRARY
#undef NOT_THERE
#define LIBRARY hcs_cnrt_library
#define NOT_THERE 100002 /* CN_ERROR_NOT_INITIALIZED */
HCS_IMPORTS(cnrtMapMemHandle, (void **pointer, void *handle, int flag), (pointer, handle, flag));

#undef LIBRARY
#define LIBRARY hcs_cndrv_library
HCS_IMPORTS(cnIpcOpenMemHandle, (uint64_t *address, void *handle, unsigned flag),
            (address, handle, flag));
