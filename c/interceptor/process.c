/* See process.h. Only open, read, close: usable in any thread and in a forked child. */
#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAT_BYTES_MAX 1024 /* 52 numbers and a name of 15 bytes; what is cut off is not needed */

/* The word: 24 bits of pid (the kernel's limit is 22), then these. 0: not known. */
#define START_BITS 24 /* of the ticks since boot: the same again after 46 hours */
#define PROGRAM_BITS 16

struct process_stat {
    char state;
    unsigned long threads;
    uint64_t start;   /* START_BITS of it */
    uint64_t program; /* PROGRAM_BITS of a hash */
};

/* Return the word that stands `count` blanks behind `text`, or NULL. */
static const char *word_after(const char *text, unsigned count) {
    for (; count > 0 && text != NULL; count--) {
        text = strchr(text, ' ');
        text = text != NULL ? text + 1 : NULL;
    }
    return text;
}

/* Each exec puts the stack somewhere else; the kernel shows us 0 where we may not know. */
static uint64_t hash_of(unsigned long long stack_start) {
    uint64_t hash = stack_start * UINT64_C(0x9e3779b97f4a7c15) >> (64 - PROGRAM_BITS);
    return stack_start == 0 || hash != 0 ? hash : 1;
}

static bool parse_stat(const char *text, struct process_stat *out) {
    /* "pid (name) state ...": the name may hold anything, so start at the last parenthesis. */
    const char *name_end = strrchr(text, ')');
    const char *state = name_end != NULL ? word_after(name_end, 1) : NULL;
    const char *threads = state != NULL ? word_after(state, 17) : NULL; /* field 20 */
    const char *start = threads != NULL ? word_after(threads, 2) : NULL; /* field 22 */
    const char *stack_start = start != NULL ? word_after(start, 6) : NULL; /* field 28 */
    if (stack_start == NULL) {
        return false;
    }
    out->state = *state;
    out->threads = strtoul(threads, NULL, 10);
    out->start = strtoull(start, NULL, 10) & ((UINT64_C(1) << START_BITS) - 1);
    out->program = hash_of(strtoull(stack_start, NULL, 10));
    return true;
}

static bool read_stat(int pid, struct process_stat *out) {
    char path[32], text[STAT_BYTES_MAX];
    int cancel_state;
    ssize_t length = -1;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    /* These calls are cancellation points, where the application does not expect one. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        length = read(fd, text, sizeof text - 1);
        close(fd);
    }
    pthread_setcancelstate(cancel_state, NULL);
    text[length > 0 ? length : 0] = '\0';
    return length > 0 && parse_stat(text, out);
}

uint64_t hcs_process_self(void) {
    struct process_stat stat = {.start = 0};
    int saved_errno = errno;
    read_stat(getpid(), &stat);
    errno = saved_errno;
    return (uint64_t)getpid() << (START_BITS + PROGRAM_BITS) | stat.start << PROGRAM_BITS |
           stat.program;
}

static bool differ(uint64_t one, uint64_t other) {
    return one != 0 && other != 0 && one != other;
}

static bool exists(int pid) { return kill(pid, 0) == 0 || errno != ESRCH; }

static bool lives(int pid, uint64_t start, uint64_t program) {
    struct process_stat stat;
    if (!exists(pid)) {
        return false;
    }
    if (!read_stat(pid, &stat)) {
        return exists(pid); /* no /proc, or reaped just now: who was dead must not live again */
    }
    /* A main thread that ended before its siblings also shows as Z: then there are more threads. */
    bool ended = (stat.state == 'Z' || stat.state == 'X') && stat.threads <= 1;
    return !ended && !differ(start, stat.start) && !differ(program, stat.program);
}

bool hcs_process_lives(uint64_t process) {
    int saved_errno = errno;
    uint64_t start = process >> PROGRAM_BITS & ((UINT64_C(1) << START_BITS) - 1);
    uint64_t program = process & ((UINT64_C(1) << PROGRAM_BITS) - 1);
    bool result = lives((int)(process >> (START_BITS + PROGRAM_BITS)), start, program);
    errno = saved_errno;
    return result;
}

uint64_t hcs_process_pid_namespace(void) {
    struct stat namespace;
    return stat("/proc/self/ns/pid", &namespace) == 0 ? namespace.st_ino : 0;
}
