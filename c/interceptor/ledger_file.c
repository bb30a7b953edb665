/* See ledger_file.h. */
#define _GNU_SOURCE
#include "ledger_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "debug.h"
#include "process.h"

/* Whoever has the lock needs some ten microseconds, or for ever if it is stopped in there. The
 * kernel takes the lock from a killed one. */
#define LOCK_WAIT_NS_MAX 1000000
#define LOCK_TRIES_MAX 1000

/* Only what needs no thought in a file name; pod uids and container names need no more. */
static void keep_simple(char *text) {
    for (; *text != '\0'; text++) {
        bool simple = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
                      (*text >= '0' && *text <= '9') || *text == '-' || *text == '.';
        *text = simple ? *text : '_';
    }
}

static void default_name(const struct hcs_config *config, char *name, size_t name_bytes) {
    snprintf(name, name_bytes, "hcs-%s-%s-%llu.ledger",
             *config->pod_uid != '\0' ? config->pod_uid : "local",
             *config->container != '\0' ? config->container : "default",
             (unsigned long long)hcs_process_pid_namespace());
    keep_simple(name);
}

static bool lock_file(int fd) {
    struct timespec pause = {0, 10000};
    for (unsigned i = 0; i < LOCK_TRIES_MAX; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            return true;
        }
        nanosleep(&pause, NULL);
        pause.tv_nsec += pause.tv_nsec < LOCK_WAIT_NS_MAX ? pause.tv_nsec / 8 : 0;
    }
    return false;
}

/* Give a new file its size, with memory behind it: writing to a hole in a full tmpfs would be
 * SIGBUS, in the middle of somebody's training job. */
static bool grow(int fd) {
    struct stat stat;
    if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode) || stat.st_uid != geteuid()) {
        return false;
    }
    if (stat.st_size == 0) {
        return fchmod(fd, 0600) == 0 && posix_fallocate(fd, 0, sizeof(struct hcs_ledger)) == 0;
    }
    return stat.st_size == sizeof(struct hcs_ledger);
}

/* A ledger without any mark is new, or its maker was killed before the last step: make it. */
static bool usable(struct hcs_ledger *ledger, uint64_t now_ns) {
    uint64_t namespace = hcs_process_pid_namespace();
    if (ledger->magic == 0) {
        hcs_ledger_init(ledger, namespace, now_ns);
    }
    return ledger->magic == HCS_LEDGER_MAGIC && ledger->pid_namespace == namespace &&
           ledger->slots_used <= HCS_LEDGER_SLOTS_MAX &&
           ledger->device_count <= HCS_WIRE_DEVICES_MAX;
}

/* With the file locked. */
static struct hcs_ledger *map(int fd, uint64_t now_ns) {
    if (!grow(fd)) {
        return NULL;
    }
    void *mapping =
        mmap(NULL, sizeof(struct hcs_ledger), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED) {
        return NULL;
    }
    if (!usable(mapping, now_ns)) {
        munmap(mapping, sizeof(struct hcs_ledger));
        return NULL;
    }
    return mapping;
}

static struct hcs_ledger *map_and_join(int fd, const struct hcs_config *config, uint64_t now_ns,
                                       unsigned *slot) {
    struct hcs_ledger *ledger = map(fd, now_ns);
    int taken =
        ledger != NULL ? hcs_ledger_join(ledger, config, hcs_process_self(), now_ns) : -1;
    if (ledger != NULL && taken < 0) {
        munmap(ledger, sizeof(struct hcs_ledger));
        ledger = NULL;
    }
    *slot = (unsigned)taken;
    return ledger;
}

static struct hcs_ledger *open_path(const char *path, const struct hcs_config *config,
                                    uint64_t now_ns, unsigned *slot) {
    struct hcs_ledger *ledger = NULL;
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd >= 0 && lock_file(fd)) {
        ledger = map_and_join(fd, config, now_ns, slot);
        flock(fd, LOCK_UN); /* closing would not do it: a child forked now has the file open too */
    }
    if (fd >= 0) {
        close(fd);
    }
    return ledger;
}

struct hcs_ledger *hcs_ledger_open(const struct hcs_config *config, uint64_t now_ns,
                                   unsigned *slot) {
    int saved_errno = errno;
    struct hcs_ledger *ledger = NULL;
    if (*config->ledger_path != '\0') {
        ledger = open_path(config->ledger_path, config, now_ns, slot);
    } else {
        static const char *const directories[] = {"/dev/shm", "/tmp"};
        char name[HCS_PATH_BYTES], path[HCS_PATH_BYTES + 16];
        default_name(config, name, sizeof name);
        for (unsigned i = 0; ledger == NULL && i < 2; i++) {
            snprintf(path, sizeof path, "%s/%s", directories[i], name);
            ledger = open_path(path, config, now_ns, slot);
        }
    }
    if (ledger == NULL) {
        hcs_debug("no_enforcement", "no ledger, or no slot: see HCS_LEDGER, /dev/shm and /tmp");
    }
    errno = saved_errno;
    return ledger;
}
