/* launch_bench 0 ROUNDS: launch so many empty kernels, in a function of their own for callgrind.
 * Compiled once per runtime, as launches.c. */
#include <stdint.h>
#include <stdlib.h>
#include <valgrind/callgrind.h>

struct kind {
    const char *name;
    int (*launch)(unsigned blocks);
};
#define DECLARE(name, arguments) int name arguments;
static void *stream, *executable;
#include RUNTIME

__attribute__((noinline)) int launch_kernels(long rounds) {
    int failures = 0;
    for (; rounds > 0; rounds--) {
        failures += kernel(1) != 0;
    }
    return failures;
}

int main(int argc, char **argv) {
    if (argc != 3 || begin() != 0 || use_device(0) != 0 || kernel(1) != 0) {
        return 2;
    }
    CALLGRIND_START_INSTRUMENTATION;
    (void)kinds, (void)reset, (void)finish, (void)new_stream, (void)drop_stream;
    (void)begin_capture, (void)end_capture;
    return launch_kernels(atol(argv[2])) != 0;
}
