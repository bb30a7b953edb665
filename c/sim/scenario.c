/* See scenario.h. The file's own format is that of Python's configparser: `[section]`,
 * `key = value`, one line each. Unknown sections and keys are skipped, so that the format can grow.
 */
#include "scenario.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MAX_BYTES 512
#define WAIT_SLICE_MS 100  /* where inotify sees nothing (network file systems), look this often */
#define POLL_SLICE_MS 5    /* where there is no inotify at all */

enum section {
    SECTION_NONE,
    SECTION_NODE,
    SECTION_DEVICE,
    SECTION_LINK,
    SECTION_EVENT,
    SECTION_FAULT
};

/* In the order of the enumerations, which begin at 1; 0 stands for "none of them". */
static const char *const VENDORS[] = {"nvidia", "huawei", "hygon", "cambricon", "mthreads", NULL};
static const char *const LINK_TYPES[] = {"nvlink", "hccs", "xgmi", "mlu_link", "mtlink", NULL};
static const char *const STATES[] = {"raised", "cleared", NULL};

struct parser {
    struct hcs_sim_scenario *out;
    enum section section;
    bool device_seen[HCS_SIM_DEVICES_MAX];
    struct hcs_sim_device *device;
    struct hcs_sim_link *link;
    struct hcs_sim_event *event;
    struct hcs_sim_fault *fault;
};

/* --- Values ---------------------------------------------------------------------------------- */

static int parse_u64(const char *text, uint64_t *value) {
    char *end;
    if (*text < '0' || *text > '9')
        return -1;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno || *end ? -1 : 0;
}

static int parse_unsigned(const char *text, unsigned *value) {
    uint64_t wide;
    if (parse_u64(text, &wide) || wide > UINT32_MAX)
        return -1;
    *value = (unsigned)wide;
    return 0;
}

static int parse_int(const char *text, int *value) {
    unsigned magnitude;
    bool negative = *text == '-';
    if (parse_unsigned(text + negative, &magnitude) || magnitude > INT32_MAX)
        return -1;
    *value = negative ? -(int)magnitude : (int)magnitude;
    return 0;
}

static int parse_bool(const char *text, bool *value) {
    unsigned number;
    if (parse_unsigned(text, &number) || number > 1)
        return -1;
    *value = number == 1;
    return 0;
}

static int parse_text(const char *text, char *value, size_t size) {
    size_t length = strlen(text);
    if (length >= size)
        return -1;
    memcpy(value, text, length + 1);
    return 0;
}

/* Store 1 in *value for the first of the words, and so on. */
static int parse_word(const char *text, const char *const *words, int *value) {
    for (int i = 0; words[i]; i++)
        if (!strcmp(text, words[i])) {
            *value = i + 1;
            return 0;
        }
    return -1;
}

static int parse_pci(const char *text, struct hcs_sim_device *device) {
    int used = 0;
    int fields = sscanf(text, "%8x:%2x:%2x.%1x%n", &device->pci_domain, &device->pci_bus,
                        &device->pci_device, &device->pci_function, &used);
    return fields == 4 && text[used] == '\0' ? 0 : -1;
}

/* --- Sections -------------------------------------------------------------------------------- */

static int begin_device(struct parser *parser, const char *rest) {
    unsigned number;
    if (parse_unsigned(rest, &number) || number >= HCS_SIM_DEVICES_MAX)
        return -1;
    if (parser->device_seen[number])
        return -1;
    parser->device_seen[number] = true;
    parser->section = SECTION_DEVICE;
    parser->device = &parser->out->devices[number];
    parser->device->number = number;
    parser->device->numa = -1;
    parser->device->present = true;
    parser->out->device_count++;
    return 0;
}

/* Split "A.B" at its first dot, in place; NULL when there is none. */
static char *split(char *text) {
    char *dot = strchr(text, '.');
    if (dot)
        *dot++ = '\0';
    return dot;
}

static int begin_link(struct parser *parser, char *rest) {
    struct hcs_sim_scenario *out = parser->out;
    char *second = split(rest);
    if (!second || out->link_count == HCS_SIM_LINKS_MAX)
        return -1;
    parser->section = SECTION_LINK;
    parser->link = &out->links[out->link_count++];
    parser->link->up = true;
    if (parse_unsigned(rest, &parser->link->a) || parse_unsigned(second, &parser->link->b))
        return -1;
    return parser->link->a < parser->link->b ? 0 : -1;
}

static int begin_event(struct parser *parser, const char *rest) {
    struct hcs_sim_scenario *out = parser->out;
    if (out->event_count == HCS_SIM_EVENTS_MAX)
        return -1;
    parser->section = SECTION_EVENT;
    parser->event = &out->events[out->event_count];
    if (parse_u64(rest, &parser->event->number))
        return -1;
    if (out->event_count && parser->event->number <= out->events[out->event_count - 1].number)
        return -1; /* the order of the file is the order of the events */
    out->event_count++;
    return 0;
}

static int begin_fault(struct parser *parser, char *rest) {
    struct hcs_sim_scenario *out = parser->out;
    char *code = split(rest);
    if (!code || out->fault_count == HCS_SIM_FAULTS_MAX)
        return -1;
    parser->section = SECTION_FAULT;
    parser->fault = &out->faults[out->fault_count++];
    parser->fault->count = 1;
    if (parse_unsigned(rest, &parser->fault->device))
        return -1;
    return parse_text(code, parser->fault->code, sizeof parser->fault->code);
}

static int begin_section(struct parser *parser, char *name) {
    char *rest = split(name);
    parser->section = SECTION_NONE;
    if (!rest) {
        if (!strcmp(name, "node"))
            parser->section = SECTION_NODE;
        return 0;
    }
    if (!strcmp(name, "device"))
        return begin_device(parser, rest);
    if (!strcmp(name, "link"))
        return begin_link(parser, rest);
    if (!strcmp(name, "event"))
        return begin_event(parser, rest);
    return strcmp(name, "fault") ? 0 : begin_fault(parser, rest);
}

/* --- Keys ------------------------------------------------------------------------------------ */

static int set_node(struct hcs_sim_scenario *out, const char *key, const char *value) {
    if (!strcmp(key, "name"))
        return parse_text(value, out->node, sizeof out->node);
    if (!strcmp(key, "generation"))
        return parse_u64(value, &out->generation);
    if (!strcmp(key, "nvidia_driver"))
        return parse_text(value, out->nvidia_driver, sizeof out->nvidia_driver);
    if (!strcmp(key, "ascend_driver"))
        return parse_text(value, out->ascend_driver, sizeof out->ascend_driver);
    if (!strcmp(key, "hygon_driver"))
        return parse_text(value, out->hygon_driver, sizeof out->hygon_driver);
    if (!strcmp(key, "cambricon_driver"))
        return parse_text(value, out->cambricon_driver, sizeof out->cambricon_driver);
    if (!strcmp(key, "mthreads_driver"))
        return parse_text(value, out->mthreads_driver, sizeof out->mthreads_driver);
    if (!strcmp(key, "rocm_smi_wide"))
        return parse_bool(value, &out->rocm_smi_wide);
    return 0;
}

static int set_device(struct hcs_sim_device *device, const char *key, const char *value) {
    int word;
    if (!strcmp(key, "vendor")) {
        if (parse_word(value, VENDORS, &word))
            return -1;
        device->vendor = (enum hcs_sim_vendor)word;
        return 0;
    }
    if (!strcmp(key, "model"))
        return parse_text(value, device->model, sizeof device->model);
    if (!strcmp(key, "id"))
        return parse_text(value, device->id, sizeof device->id);
    if (!strcmp(key, "pci"))
        return parse_pci(value, device);
    if (!strcmp(key, "numa"))
        return parse_int(value, &device->numa);
    if (!strcmp(key, "vram_bytes"))
        return parse_u64(value, &device->vram_bytes);
    if (!strcmp(key, "memory_used_bytes"))
        return parse_u64(value, &device->memory_used_bytes);
    if (!strcmp(key, "temperature_c"))
        return parse_int(value, &device->temperature_c);
    if (!strcmp(key, "power_mw"))
        return parse_unsigned(value, &device->power_mw);
    if (!strcmp(key, "present"))
        return parse_bool(value, &device->present);
    if (!strcmp(key, "recovery_action"))
        return parse_unsigned(value, &device->recovery_action);
    return 0;
}

static int set_link(struct hcs_sim_link *link, const char *key, const char *value) {
    int word;
    if (!strcmp(key, "type")) {
        if (parse_word(value, LINK_TYPES, &word))
            return -1;
        link->type = (enum hcs_sim_link_type)word;
        return 0;
    }
    if (!strcmp(key, "lanes"))
        return parse_unsigned(value, &link->lanes);
    if (!strcmp(key, "up"))
        return parse_bool(value, &link->up);
    return 0;
}

static int set_event(struct hcs_sim_event *event, const char *key, const char *value) {
    int word;
    if (!strcmp(key, "device"))
        return parse_unsigned(value, &event->device);
    if (!strcmp(key, "code"))
        return parse_text(value, event->code, sizeof event->code);
    if (!strcmp(key, "state")) {
        if (parse_word(value, STATES, &word))
            return -1;
        event->raised = word == 1;
        return 0;
    }
    if (!strcmp(key, "at_ns")) {
        uint64_t at_ns;
        if (parse_u64(value, &at_ns) || at_ns > INT64_MAX)
            return -1;
        event->at_ns = (int64_t)at_ns;
    }
    return 0;
}

static int set_fault(struct hcs_sim_fault *fault, const char *key, const char *value) {
    return strcmp(key, "count") ? 0 : parse_u64(value, &fault->count);
}

static int set_key(struct parser *parser, const char *key, const char *value) {
    switch (parser->section) {
    case SECTION_NODE: return set_node(parser->out, key, value);
    case SECTION_DEVICE: return set_device(parser->device, key, value);
    case SECTION_LINK: return set_link(parser->link, key, value);
    case SECTION_EVENT: return set_event(parser->event, key, value);
    case SECTION_FAULT: return set_fault(parser->fault, key, value);
    case SECTION_NONE: return 0;
    }
    return -1;
}

/* --- Lines ----------------------------------------------------------------------------------- */

/* Cut white space from both ends, in place. */
static char *trim(char *text) {
    text += strspn(text, " \t\r");
    size_t length = strlen(text);
    while (length && strchr(" \t\r", text[length - 1]))
        text[--length] = '\0';
    return text;
}

static int parse_line(struct parser *parser, char *line) {
    line = trim(line);
    size_t length = strlen(line);
    if (!length || *line == '#' || *line == ';')
        return 0;
    if (*line == '[') {
        if (line[length - 1] != ']')
            return -1;
        line[length - 1] = '\0';
        return begin_section(parser, line + 1);
    }
    char *equals = strchr(line, '=');
    if (!equals)
        return -1;
    *equals = '\0';
    return set_key(parser, trim(line), trim(equals + 1));
}

/* What only the whole file can show. Devices are numbered without holes; all name real devices. */
static int check(const struct hcs_sim_scenario *out) {
    for (size_t i = 0; i < out->device_count; i++)
        if (out->devices[i].number != i || !out->devices[i].vendor || !out->devices[i].id[0])
            return -1;
    for (size_t i = 0; i < out->link_count; i++)
        if (out->links[i].b >= out->device_count || !out->links[i].type)
            return -1;
    for (size_t i = 0; i < out->event_count; i++)
        if (out->events[i].device >= out->device_count || !out->events[i].code[0])
            return -1;
    for (size_t i = 0; i < out->fault_count; i++)
        if (out->faults[i].device >= out->device_count || !out->faults[i].code[0])
            return -1;
    return 0;
}

int hcs_sim_scenario_parse(const char *text, size_t length, struct hcs_sim_scenario *out) {
    struct parser parser = {.out = out};
    const char *end = text + length;
    memset(out, 0, sizeof *out);
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t size = (size_t)((stop ? stop : end) - text);
        char line[LINE_MAX_BYTES];
        if (size >= sizeof line || memchr(text, '\0', size))
            return -1;
        memcpy(line, text, size);
        line[size] = '\0';
        if (parse_line(&parser, line))
            return -1;
        text += size + 1;
    }
    return check(out);
}

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
