/* A user's program, remote-controlled: reads commands from stdin, answers each with one line.
 *
 *   alloc BYTES    -> "RESULT NUMBER"     the block's number is for `free`
 *   free NUMBER    -> "RESULT"
 *   fill BYTES     -> "RESULT COUNT"      allocate until refused
 *   info           -> "RESULT FREE TOTAL"
 *   total DEVICE   -> "RESULT BYTES"      (CUDA driver only)
 *   device NUMBER  -> "RESULT"
 *   fork           -> "0"                 the child goes on, the parent waits for it
 *   errno          -> "ERRNO"             sets it to 77 first and allocates and frees in between
 *
 * Compiled once per runtime (-DUSE_CUDA, -DUSE_CUDART, -DUSE_ACL), linked or (-DLOOKUP) by dlsym.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCKS_MAX 100000

#if defined(USE_CUDA)
#define LIBRARY "libcuda.so.1"
typedef uint64_t pointer;
#define FUNCTIONS(X)                                                                               \
    X(cuInit, (unsigned))                                                                          \
    X(cuDevicePrimaryCtxRetain, (void **, int))                                                    \
    X(cuCtxSetCurrent, (void *))                                                                   \
    X(cuMemAlloc_v2, (uint64_t *, size_t))                                                         \
    X(cuMemFree_v2, (uint64_t))                                                                    \
    X(cuMemGetInfo_v2, (size_t *, size_t *))                                                       \
    X(cuDeviceTotalMem_v2, (size_t *, int))
#elif defined(USE_CUDART)
#define LIBRARY "libcudart.so.12"
typedef void *pointer;
#define FUNCTIONS(X)                                                                               \
    X(cudaSetDevice, (int))                                                                        \
    X(cudaMalloc, (void **, size_t))                                                               \
    X(cudaFree, (void *))                                                                          \
    X(cudaMemGetInfo, (size_t *, size_t *))
#else
#define LIBRARY "libascendcl.so"
typedef void *pointer;
#define FUNCTIONS(X)                                                                               \
    X(aclInit, (const char *))                                                                     \
    X(aclrtSetDevice, (int32_t))                                                                   \
    X(aclrtMalloc, (void **, size_t, int))                                                         \
    X(aclrtFree, (void *))                                                                         \
    X(aclrtGetMemInfo, (int, size_t *, size_t *))
#endif

#ifdef LOOKUP
#define DECLARE(name, arguments) static int(*name) arguments;
#define FIND(name, arguments) *(void **)&name = dlsym(library, #name);
#else
#define DECLARE(name, arguments) int name arguments;
#define FIND(name, arguments)
#endif
FUNCTIONS(DECLARE)

static void load(void) {
#ifdef LOOKUP
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
#endif
    FUNCTIONS(FIND)
}

#if defined(USE_CUDA)
static int begin(void) { return cuInit(0); }
static int use_device(int device) {
    void *context;
    int result = cuDevicePrimaryCtxRetain(&context, device);
    return result != 0 ? result : cuCtxSetCurrent(context);
}
static int allocate(pointer *p, size_t bytes) { return cuMemAlloc_v2(p, bytes); }
static int release(pointer p) { return cuMemFree_v2(p); }
static int info(size_t *free_, size_t *total) { return cuMemGetInfo_v2(free_, total); }
static int total_of(size_t *bytes, int device) { return cuDeviceTotalMem_v2(bytes, device); }
#elif defined(USE_CUDART)
static int begin(void) { return 0; }
static int use_device(int device) { return cudaSetDevice(device); }
static int allocate(pointer *p, size_t bytes) { return cudaMalloc(p, bytes); }
static int release(pointer p) { return cudaFree(p); }
static int info(size_t *free_, size_t *total) { return cudaMemGetInfo(free_, total); }
static int total_of(size_t *bytes, int device) { return *bytes = 0, device; }
#else
static int begin(void) { return aclInit(NULL); }
static int use_device(int device) { return aclrtSetDevice(device); }
static int allocate(pointer *p, size_t bytes) { return aclrtMalloc(p, bytes, 0); }
static int release(pointer p) { return aclrtFree(p); }
static int info(size_t *free_, size_t *total) { return aclrtGetMemInfo(1, free_, total); }
static int total_of(size_t *bytes, int device) { return *bytes = 0, device; }
#endif

static pointer blocks[BLOCKS_MAX];
static size_t block_count;

static int fill(size_t bytes, size_t *count) {
    int result = 0;
    for (*count = 0; result == 0 && block_count < BLOCKS_MAX; *count += result == 0) {
        result = allocate(&blocks[block_count], bytes);
        block_count += result == 0;
    }
    return result;
}

static int keeps_errno(void) {
    pointer p;
    errno = 77;
    if (allocate(&p, 1 << 20) == 0) {
        release(p);
    }
    return errno;
}

static void obey(const char *command, size_t argument) {
    size_t a = 0, b = 0;
    int result;
    if (strcmp(command, "alloc") == 0) {
        result = allocate(&blocks[block_count], argument);
        printf("%d %zu\n", result, block_count);
        block_count += result == 0;
    } else if (strcmp(command, "free") == 0) {
        printf("%d\n", release(blocks[argument]));
    } else if (strcmp(command, "fill") == 0) {
        result = fill(argument, &a);
        printf("%d %zu\n", result, a);
    } else if (strcmp(command, "info") == 0) {
        result = info(&a, &b);
        printf("%d %zu %zu\n", result, a, b);
    } else if (strcmp(command, "total") == 0) {
        result = total_of(&a, (int)argument);
        printf("%d %zu\n", result, a);
    } else if (strcmp(command, "device") == 0) {
        printf("%d\n", use_device((int)argument));
    } else if (strcmp(command, "errno") == 0) {
        printf("%d\n", keeps_errno());
    } else if (strcmp(command, "begin") == 0) {
        printf("%d\n", begin());
    } else if (strcmp(command, "fork") == 0) {
        fflush(stdout);
        pid_t child = fork();
        if (child > 0) {
            exit(waitpid(child, NULL, 0) == child ? 0 : 1);
        }
        printf("0\n");
    } else {
        exit(2);
    }
}

int main(void) {
    char command[16];
    size_t argument;
    char line[64];
    load();
    setvbuf(stdin, NULL, _IONBF, 0);
    while (fgets(line, sizeof line, stdin) != NULL) {
        argument = 0;
        if (sscanf(line, "%15s %zu", command, &argument) >= 1) {
            obey(command, argument);
            fflush(stdout);
        }
    }
    return 0;
}
