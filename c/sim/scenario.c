/* The snapshot in force, and questions to it; see scenario.h. */
#include "scenario.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_SLICE_MS 100  /* where inotify sees nothing (network file systems), look this often */
#define POLL_SLICE_MS 5    /* where there is no inotify at all */

/* --- The snapshot in force ------------------------------------------------------------------- */

struct snapshot { /* the scenario comes first: a pointer to one is a pointer to the other */
    struct hcs_sim_scenario scenario;
    unsigned references; /* guarded by `mutex`; the one in force holds one itself */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct snapshot *current;
static struct stat current_stat; /* of the file last looked at, good or bad */

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void drop(struct snapshot *snapshot) {
    if (snapshot && --snapshot->references == 0)
        free(snapshot);
}

/* Read a whole file into a new buffer, and its status; NULL on any failure. */
static char *read_file(const char *path, struct stat *status) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    char *text = NULL;
    if (!fstat(fd, status) && status->st_size > 0 && status->st_size <= HCS_SIM_FILE_BYTES_MAX)
        text = malloc((size_t)status->st_size);
    size_t done = 0;
    while (text && done < (size_t)status->st_size) {
        ssize_t got = read(fd, text + done, (size_t)status->st_size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            free(text);
            text = NULL;
        } else {
            done += (size_t)got;
        }
    }
    close(fd);
    return text;
}

static struct snapshot *load(const char *path, struct stat *status) {
    char *text = read_file(path, status);
    if (!text)
        return NULL;
    struct snapshot *snapshot = malloc(sizeof *snapshot);
    if (snapshot && hcs_sim_scenario_parse(text, (size_t)status->st_size, &snapshot->scenario)) {
        free(snapshot);
        snapshot = NULL;
    }
    free(text);
    if (snapshot)
        snapshot->references = 1;
    return snapshot;
}

/* Called with the mutex held. */
static void refresh(void) {
    const char *path = getenv(HCS_SIM_SCENARIO_ENV);
    struct stat status;
    if (!path || stat(path, &status) || same_file(&status, &current_stat))
        return;
    current_stat = status; /* a file we cannot read is not tried again until it changes */
    struct snapshot *fresh = load(path, &status);
    if (!fresh)
        return;
    current_stat = status; /* of the file really read: it may be newer than the one looked at */
    drop(current);
    current = fresh;
}

const struct hcs_sim_scenario *hcs_sim_scenario_acquire(void) {
    int saved_errno = errno;
    pthread_mutex_lock(&mutex);
    refresh();
    struct snapshot *snapshot = current;
    if (snapshot)
        snapshot->references++;
    pthread_mutex_unlock(&mutex);
    errno = saved_errno;
    return snapshot ? &snapshot->scenario : NULL;
}

void hcs_sim_scenario_release(const struct hcs_sim_scenario *scenario) {
    if (!scenario)
        return;
    pthread_mutex_lock(&mutex);
    drop((struct snapshot *)(uintptr_t)scenario);
    pthread_mutex_unlock(&mutex);
}

/* Each waiting thread has its own inotify descriptor for as long as it lives: closing one takes the
 * kernel milliseconds, and a shared one would have to be read by exactly one of its waiters. */
static pthread_once_t watch_once = PTHREAD_ONCE_INIT;
static pthread_key_t watch_key; /* the descriptor plus one; nothing: not opened yet */

static void close_watch(void *value) { close((int)(intptr_t)value - 1); }

static void make_watch_key(void) { (void)pthread_key_create(&watch_key, close_watch); }

/* Watch the directory, because the file itself is replaced; -1 when that cannot be had. */
static int open_watch(const char *path) {
    char directory[PATH_MAX] = ".";
    const char *slash = strrchr(path, '/');
    if (slash && (size_t)(slash - path) < sizeof directory) {
        memcpy(directory, path, (size_t)(slash - path));
        directory[slash - path] = '\0';
    }
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0)
        return -1;
    if (inotify_add_watch(fd, *directory ? directory : "/", IN_MOVED_TO | IN_CLOSE_WRITE) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int watch_of_this_thread(void) {
    pthread_once(&watch_once, make_watch_key);
    void *value = pthread_getspecific(watch_key);
    const char *path = getenv(HCS_SIM_SCENARIO_ENV);
    if (value || !path)
        return (int)(intptr_t)value - 1;
    int fd = open_watch(path);
    if (fd >= 0)
        pthread_setspecific(watch_key, (void *)(intptr_t)(fd + 1));
    return fd;
}

void hcs_sim_scenario_wait(const struct hcs_sim_scenario *seen, unsigned timeout_ms) {
    int saved_errno = errno;
    char events[4096];
    struct pollfd watch = {.fd = watch_of_this_thread(), .events = POLLIN};
    unsigned slice_ms = watch.fd < 0 ? POLL_SLICE_MS : WAIT_SLICE_MS;
    while (watch.fd >= 0 && read(watch.fd, events, sizeof events) > 0)
        ; /* old news */
    /* What changed before the watch stood would never wake it: look once more. */
    const struct hcs_sim_scenario *now = hcs_sim_scenario_acquire();
    bool same = now == seen;
    hcs_sim_scenario_release(now);
    if (same)
        (void)poll(&watch, 1, (int)(timeout_ms < slice_ms ? timeout_ms : slice_ms));
    errno = saved_errno;
}

void hcs_sim_device_wait(unsigned number) {
    for (;;) {
        const struct hcs_sim_scenario *scenario = hcs_sim_scenario_acquire();
        bool hangs = scenario && number < scenario->device_count && scenario->devices[number].hangs;
        hcs_sim_scenario_release(scenario);
        if (!hangs)
            return;
        hcs_sim_scenario_wait(scenario, WAIT_SLICE_MS);
    }
}

/* --- Questions to a snapshot ----------------------------------------------------------------- */

unsigned hcs_sim_device_count(const struct hcs_sim_scenario *scenario, enum hcs_sim_vendor vendor) {
    unsigned count = 0;
    for (size_t i = 0; i < scenario->device_count; i++)
        count += scenario->devices[i].vendor == vendor;
    return count;
}

const struct hcs_sim_device *hcs_sim_device_at(const struct hcs_sim_scenario *scenario,
                                               enum hcs_sim_vendor vendor, unsigned index) {
    for (size_t i = 0; i < scenario->device_count; i++)
        if (scenario->devices[i].vendor == vendor && index-- == 0)
            return &scenario->devices[i];
    return NULL;
}

unsigned hcs_sim_index_of(const struct hcs_sim_scenario *scenario,
                          const struct hcs_sim_device *device) {
    unsigned index = 0;
    for (unsigned i = 0; i < device->number; i++)
        index += scenario->devices[i].vendor == device->vendor;
    return index;
}

const struct hcs_sim_link *hcs_sim_link_between(const struct hcs_sim_scenario *scenario, unsigned a,
                                                unsigned b) {
    for (size_t i = 0; i < scenario->link_count; i++) {
        const struct hcs_sim_link *link = &scenario->links[i];
        if ((link->a == a && link->b == b) || (link->a == b && link->b == a))
            return link;
    }
    return NULL;
}

uint64_t hcs_sim_fault_count(const struct hcs_sim_scenario *scenario, unsigned device,
                             const char *code) {
    for (size_t i = 0; i < scenario->fault_count; i++)
        if (scenario->faults[i].device == device && !strcmp(scenario->faults[i].code, code))
            return scenario->faults[i].count;
    return 0;
}

uint64_t hcs_sim_last_event(const struct hcs_sim_scenario *scenario) {
    return scenario->event_count ? scenario->events[scenario->event_count - 1].number : 0;
}
