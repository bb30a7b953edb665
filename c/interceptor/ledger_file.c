/* See ledger_file.h. */
#define _GNU_SOURCE
#include "ledger_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "debug.h"
#include "process.h"

#define PATH_BYTES (HCS_PATH_BYTES + 32) /* with a directory before it, or a pid behind it */

/* Two do: to make the ledger, and to join it. Only while somebody replaces it by one with other
 * quotas we have to wait; not for ever, as who does it may be stopped. */
#define OPEN_TRIES_MAX 1000
#define OPEN_TRIES_AT_ONCE 4 /* later ones after a pause */
#define PAUSE_NS 1000000

/* What a try comes to, but for a slot. ABSENT: there is none here, nor can one be made. */
enum { IMPOSSIBLE = HCS_LEDGER_FULL, AGAIN = HCS_LEDGER_CLOSING, ABSENT = -3 };

/* Who wants to join. */
struct joiner {
    const struct hcs_config *config;
    uint64_t self, pid_namespace, now_ns;
};

static uint64_t opened_name;

uint64_t hcs_ledger_name(void) { return opened_name; }

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

static struct hcs_ledger *map(int fd) {
    void *mapping =
        mmap(NULL, sizeof(struct hcs_ledger), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return mapping != MAP_FAILED ? mapping : NULL;
}

static void unmap(struct hcs_ledger *ledger) { munmap(ledger, sizeof *ledger); }

/* Open a new file beside the ledger's, and say in `name` what to link to it by: without a name of
 * its own, so that a kill leaves none behind, or with one where the file system knows no such
 * files. */
static int open_new(const char *path, char *name, size_t name_bytes, bool *has_name) {
    const char *slash = strrchr(path, '/');
    int length = slash != NULL ? (int)(slash + 1 - path) : 0;
    snprintf(name, name_bytes, "%.*s.", length, path);
    int fd = open(name, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    *has_name = fd < 0;
    if (fd >= 0) {
        snprintf(name, name_bytes, "/proc/self/fd/%d", fd);
        return fd;
    }
    snprintf(name, name_bytes, "%s.%d", path, (int)getpid());
    unlink(name); /* of one with our pid that was killed in here */
    return open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* Put a ledger into an empty file, with the joiner in it. Only of the cards that there are it has
 * memory behind it, and there all: writing to a hole in a full tmpfs would be SIGBUS, in the middle
 * of somebody's training job. */
static bool write_ledger(int fd, const struct joiner *joiner) {
    size_t used_bytes = offsetof(struct hcs_ledger, devices) +
                        joiner->config->device_count * sizeof(struct hcs_ledger_device);
    struct rlimit limit; /* to go beyond it would be SIGXFSZ */
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur < sizeof(struct hcs_ledger)) {
        return false;
    }
    if (fchmod(fd, 0600) != 0 || ftruncate(fd, sizeof(struct hcs_ledger)) != 0 ||
        posix_fallocate(fd, 0, (off_t)used_bytes) != 0) {
        return false;
    }
    struct hcs_ledger *ledger = map(fd);
    if (ledger != NULL) {
        hcs_ledger_init(ledger, joiner->config, joiner->pid_namespace, joiner->now_ns);
        hcs_ledger_join(ledger, joiner->self);
        unmap(ledger);
    }
    return ledger != NULL;
}

/* Make a ledger; true: there is one now, ours or that of another process. */
static bool make(const char *path, const struct joiner *joiner) {
    char name[PATH_BYTES];
    bool has_name, done = false;
    int fd = open_new(path, name, sizeof name, &has_name);
    if (fd >= 0) {
        done = write_ledger(fd, joiner) &&
               (linkat(AT_FDCWD, name, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0 || errno == EEXIST);
        close(fd);
    }
    if (has_name) {
        unlink(name);
    }
    return done;
}

static bool usable(const struct hcs_ledger *ledger, const struct joiner *joiner) {
    return ledger->magic == HCS_LEDGER_MAGIC && ledger->pid_namespace == joiner->pid_namespace &&
           ledger->slots_used <= HCS_LEDGER_SLOTS_MAX &&
           ledger->device_count <= HCS_WIRE_DEVICES_MAX;
}

/* Map a file that is ours and holds a ledger. */
static struct hcs_ledger *map_ledger(int fd, const struct joiner *joiner) {
    struct stat stat;
    if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode) || stat.st_uid != geteuid() ||
        stat.st_size != sizeof(struct hcs_ledger)) {
        return NULL;
    }
    struct hcs_ledger *ledger = map(fd);
    if (ledger != NULL && !usable(ledger, joiner)) {
        unmap(ledger);
        ledger = NULL;
    }
    return ledger;
}

/* Whether the file is still the ledger, and was not removed after it was opened. */
static bool still_named(int fd) {
    struct stat stat;
    return fstat(fd, &stat) == 0 && stat.st_nlink > 0;
}

/* Take a slot, or make room for a ledger with our quotas. */
static int join(struct hcs_ledger *ledger, int fd, const char *path, const struct joiner *joiner) {
    if (!hcs_ledger_has_quotas_of(ledger, joiner->config) &&
        hcs_ledger_close(ledger, joiner->self) && (!still_named(fd) || unlink(path) == 0)) {
        return AGAIN;
    }
    int slot = hcs_ledger_join(ledger, joiner->self);
    if (slot >= 0 && !still_named(fd)) {
        hcs_ledger_leave(ledger, (unsigned)slot);
        return AGAIN;
    }
    return slot;
}

/* When it was made, and where it lies: two of one making that lie in two files differ. */
static uint64_t name_of(const struct hcs_ledger *ledger, int fd) {
    struct stat stat = {.st_ino = 0};
    fstat(fd, &stat);
    return ledger->epoch_ns ^ (stat.st_ino * UINT64_C(0x9e3779b97f4a7c15) + stat.st_dev);
}

static int map_and_join(int fd, const char *path, const struct joiner *joiner,
                        struct hcs_ledger **joined) {
    struct hcs_ledger *ledger = map_ledger(fd, joiner);
    int slot = ledger != NULL ? join(ledger, fd, path, joiner) : IMPOSSIBLE;
    if (slot >= 0) {
        *joined = ledger;
        opened_name = name_of(ledger, fd);
    } else if (ledger != NULL) {
        unmap(ledger);
    }
    return slot;
}

static int try_path(const char *path, bool may_make, const struct joiner *joiner,
                    struct hcs_ledger **joined) {
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno != ENOENT) {
        return IMPOSSIBLE;
    }
    if (fd < 0) {
        return may_make && make(path, joiner) ? AGAIN : ABSENT;
    }
    int slot = map_and_join(fd, path, joiner, joined);
    close(fd);
    return slot;
}

static int open_path(const char *path, bool may_make, const struct joiner *joiner,
                     struct hcs_ledger **joined) {
    static const struct timespec pause = {0, PAUSE_NS};
    int result = AGAIN;
    for (unsigned tries = 0; result == AGAIN && tries < OPEN_TRIES_MAX; tries++) {
        if (tries >= OPEN_TRIES_AT_ONCE) {
            nanosleep(&pause, NULL);
        }
        result = try_path(path, may_make, joiner, joined);
    }
    return result;
}

/* One that is there already comes first, also where it is of no use to us, being another user's or
 * full: two processes must not use two. */
static int open_default(const struct joiner *joiner, struct hcs_ledger **joined) {
    static const char *const directories[] = {"/dev/shm", "/tmp", "/dev/shm", "/tmp"};
    int result = ABSENT;
    char name[HCS_PATH_BYTES], path[PATH_BYTES];
    default_name(joiner->config, name, sizeof name);
    for (unsigned i = 0; result == ABSENT && i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", directories[i], name);
        result = open_path(path, i >= 2, joiner, joined);
    }
    return result;
}

struct hcs_ledger *hcs_ledger_open(const struct hcs_config *config, uint64_t now_ns,
                                   unsigned *slot) {
    int saved_errno = errno;
    struct joiner joiner = {config, hcs_process_self(), hcs_process_pid_namespace(), now_ns};
    struct hcs_ledger *ledger = NULL;
    int result = *config->ledger_path != '\0'
                     ? open_path(config->ledger_path, true, &joiner, &ledger)
                     : open_default(&joiner, &ledger);
    *slot = (unsigned)result;
    if (ledger == NULL) {
        hcs_debug("no_enforcement", "no ledger, or no slot: see HCS_LEDGER, /dev/shm and /tmp");
    }
    errno = saved_errno;
    return ledger;
}
