/* See process.h. Only open, read, close: usable while a lock is held and in any thread. */
#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAT_BYTES_MAX 1024 /* 52 numbers and a name of 15 bytes; what is cut off is not needed */

struct process_stat {
    char state;
    unsigned long threads;
    unsigned long long start_ticks;
};

/* Return the field-th blank-separated word after the one at `text` (0: itself), or NULL. */
static const char *word_after(const char *text, unsigned count) {
    for (; count > 0 && text != NULL; count--) {
        text = strchr(text, ' ');
        text = text != NULL ? text + 1 : NULL;
    }
    return text;
}

static bool read_stat(int pid, struct process_stat *out) {
    char path[32], text[STAT_BYTES_MAX];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    text[length > 0 ? length : 0] = '\0';
    /* "pid (name) state ...": the name may hold anything, so start at the last parenthesis. */
    const char *name_end = strrchr(text, ')');
    const char *state = name_end != NULL ? word_after(name_end, 1) : NULL;
    const char *threads = state != NULL ? word_after(state, 17) : NULL; /* field 20 */
    const char *start = threads != NULL ? word_after(threads, 2) : NULL; /* field 22 */
    if (start == NULL) {
        return false;
    }
    out->state = *state;
    out->threads = strtoul(threads, NULL, 10);
    out->start_ticks = strtoull(start, NULL, 10);
    return true;
}

uint64_t hcs_process_start_ticks(int pid) {
    struct process_stat stat;
    return read_stat(pid, &stat) ? stat.start_ticks : 0;
}

bool hcs_process_lives(int pid, uint64_t start_ticks) {
    struct process_stat stat;
    if (kill(pid, 0) != 0 && errno == ESRCH) {
        return false;
    }
    if (start_ticks == 0 || !read_stat(pid, &stat)) {
        return true;
    }
    /* A main thread that ended before its siblings also shows as Z: then there are more threads. */
    bool ended = (stat.state == 'Z' || stat.state == 'X') && stat.threads <= 1;
    return !ended && stat.start_ticks == start_ticks;
}

uint64_t hcs_process_pid_namespace(void) {
    struct stat namespace;
    return stat("/proc/self/ns/pid", &namespace) == 0 ? namespace.st_ino : 0;
}
