/* A program without a dynamic section, so without anything preloaded; it opens the driver itself.
 *
 *   static_program BYTES    takes the first card's memory, says how that went, and waits for input
 *
 * Memory behind a handle, as that needs no current context: a library that a static program opens
 * has no use of its threads' own variables.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct properties { int type, handle_types, location_type, location_id; void *meta; char rest[8]; };

int main(int argc, char **argv) {
    struct properties on_first_card = {.type = 1, .location_type = 1};
    uint64_t handle;
    void *driver = argc == 2 ? dlopen("libcuda.so.1", RTLD_NOW) : NULL;
    if (driver == NULL) {
        return 2;
    }
    int (*init)(unsigned) = dlsym(driver, "cuInit");
    int (*create)(uint64_t *, size_t, const struct properties *, uint64_t) =
        dlsym(driver, "cuMemCreate");
    int result = init(0);
    printf("%d\n",
           result != 0 ? result : create(&handle, strtoull(argv[1], NULL, 10), &on_first_card, 0));
    fflush(stdout);
    getchar();
    return 0;
}
