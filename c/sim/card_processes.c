/* See card_processes.h. */
#define _GNU_SOURCE
#include "card_processes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../interceptor/process.h"

#define PID_SHIFT 40 /* of process.h's word: the pid stands above all else */

/* Open the books as they are now; -1 while no runtime has ever kept any. */
static int open_books(void) {
    char path[4096];
    const char *scenario = getenv(HCS_SIM_SCENARIO_ENV);
    int length = snprintf(path, sizeof path, "%s.memory", scenario != NULL ? scenario : "");
    if (scenario == NULL || length >= (int)sizeof path)
        return -1;
    return open(path, O_RDONLY | O_CLOEXEC);
}

static size_t read_books(const struct hcs_sim_card_memory *books, unsigned number,
                         struct hcs_sim_card_process *out) {
    size_t count = 0;
    for (unsigned i = 0; i < HCS_SIM_PROCESSES_MAX; i++) {
        uint64_t process = books->processes[i].process;
        uint64_t used_bytes = books->processes[i].used_bytes[number];
        if (process != 0 && used_bytes != 0 && hcs_process_lives(process))
            out[count++] = (struct hcs_sim_card_process){.pid = (uint32_t)(process >> PID_SHIFT),
                                                         .used_bytes = used_bytes};
    }
    return count;
}

size_t hcs_sim_processes_of(unsigned number, struct hcs_sim_card_process *out) {
    size_t count = 0;
    struct stat file;
    int fd = open_books();
    if (fd < 0)
        return 0;
    while (flock(fd, LOCK_SH) != 0 && errno == EINTR) {
    }
    /* A runtime that has only just made the file may not have given it its size yet. */
    if (fstat(fd, &file) == 0 && file.st_size >= (off_t)sizeof(struct hcs_sim_card_memory)) {
        void *books =
            mmap(NULL, sizeof(struct hcs_sim_card_memory), PROT_READ, MAP_SHARED, fd, 0);
        if (books != MAP_FAILED) {
            count = read_books(books, number, out);
            munmap(books, sizeof(struct hcs_sim_card_memory));
        }
    }
    close(fd); /* and with it the lock */
    return count;
}
