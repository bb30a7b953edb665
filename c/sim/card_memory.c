/* See card_memory.h. */
#define _GNU_SOURCE
#include "card_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../interceptor/process.h"

/* flock excludes other processes, the mutex this process's other threads. The kernel takes the
 * flock from a killed process, and the totals are summed anew each time: nothing to repair. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct hcs_sim_card_memory *memory;
static struct hcs_sim_process_memory *mine;
static int lock_fd = -1;

static struct hcs_sim_card_memory *map_file(void) {
    char path[4096];
    const char *scenario = getenv(HCS_SIM_SCENARIO_ENV);
    int length = snprintf(path, sizeof path, "%s.memory", scenario != NULL ? scenario : "");
    if (scenario == NULL || length >= (int)sizeof path) {
        return NULL;
    }
    lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock_fd < 0 || ftruncate(lock_fd, sizeof *memory) != 0) {
        return NULL;
    }
    void *mapping =
        mmap(NULL, sizeof *memory, PROT_READ | PROT_WRITE, MAP_SHARED, lock_fd, 0);
    return mapping == MAP_FAILED ? NULL : mapping;
}

/* The name goes last: whoever is killed in here leaves a dead process's entry, to be cleared anew,
 * and never one that nobody owns and that still counts. */
static void clear_if_dead(struct hcs_sim_process_memory *process) {
    if (process->process != 0 && !hcs_process_lives(process->process)) {
        memset(process->used_bytes, 0, sizeof process->used_bytes);
        __atomic_store_n(&process->process, 0, __ATOMIC_RELEASE);
    }
}

static struct hcs_sim_process_memory *find_slot(void) {
    for (unsigned i = 0; i < HCS_SIM_PROCESSES_MAX; i++) {
        struct hcs_sim_process_memory *process = &memory->processes[i];
        clear_if_dead(process);
        if (process->process == 0) {
            process->process = hcs_process_self();
            memory->processes_used = i < memory->processes_used ? memory->processes_used : i + 1;
            return process;
        }
    }
    return NULL;
}

/* Lock and map; false (and nothing locked) when there is no place to keep the state. */
static bool enter(void) {
    pthread_mutex_lock(&mutex);
    if (memory == NULL) {
        memory = map_file();
    }
    if (memory != NULL) {
        while (flock(lock_fd, LOCK_EX) != 0 && errno == EINTR) {
        }
        memory->magic = HCS_SIM_MEMORY_MAGIC;
        mine = mine != NULL ? mine : find_slot();
        if (mine != NULL) {
            return true;
        }
        flock(lock_fd, LOCK_UN);
    }
    pthread_mutex_unlock(&mutex);
    return false;
}

static void leave(void) {
    flock(lock_fd, LOCK_UN);
    pthread_mutex_unlock(&mutex);
}

static uint64_t total(unsigned card) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < memory->processes_used; i++) {
        bytes += memory->processes[i].used_bytes[card];
    }
    return bytes;
}

static void forget_the_dead(void) {
    for (unsigned i = 0; i < memory->processes_used; i++) {
        clear_if_dead(&memory->processes[i]);
    }
}

static uint64_t capacity(const struct hcs_sim_device *device) {
    return device->vram_bytes - (device->memory_used_bytes < device->vram_bytes
                                     ? device->memory_used_bytes
                                     : device->vram_bytes);
}

bool hcs_sim_memory_take(const struct hcs_sim_device *device, uint64_t bytes) {
    uint64_t size = capacity(device);
    if (bytes > size || !enter()) {
        return false;
    }
    unsigned card = device->number;
    if (total(card) + bytes > memory->peak_bytes[card]) {
        forget_the_dead();
    }
    uint64_t used = total(card);
    bool granted = used <= size && bytes <= size - used;
    if (granted) {
        mine->used_bytes[card] += bytes;
        if (used + bytes > memory->peak_bytes[card]) {
            memory->peak_bytes[card] = used + bytes;
        }
    }
    leave();
    return granted;
}

void hcs_sim_memory_give(const struct hcs_sim_device *device, uint64_t bytes) {
    if (enter()) {
        mine->used_bytes[device->number] -= bytes;
        leave();
    }
}

static pthread_mutex_t contexts_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct { /* those that took something; a snapshot's cards stay where they are */
    const void *context; /* NULL: free */
    const struct hcs_sim_device *device;
} contexts[HCS_SIM_CONTEXTS_MAX];

/* With the mutex held. */
static int find_context(const void *context) {
    int place = HCS_SIM_CONTEXTS_MAX - 1;
    while (place >= 0 && contexts[place].context != context) {
        place--;
    }
    return place;
}

bool hcs_sim_context_begin(const struct hcs_sim_device *device, const void *context) {
    if (device->context_bytes == 0) {
        return true;
    }
    pthread_mutex_lock(&contexts_mutex);
    bool there = find_context(context) >= 0;
    int place = there ? -1 : find_context(NULL);
    if (place >= 0 && hcs_sim_memory_take(device, device->context_bytes)) {
        contexts[place].context = context;
        contexts[place].device = device;
        there = true;
    }
    pthread_mutex_unlock(&contexts_mutex);
    return there;
}

void hcs_sim_context_end(const void *context) {
    pthread_mutex_lock(&contexts_mutex);
    int place = context != NULL ? find_context(context) : -1;
    if (place >= 0) {
        hcs_sim_memory_give(contexts[place].device, contexts[place].device->context_bytes);
        contexts[place].context = NULL;
    }
    pthread_mutex_unlock(&contexts_mutex);
}

uint64_t hcs_sim_memory_free(const struct hcs_sim_device *device) {
    uint64_t size = capacity(device);
    if (!enter()) {
        return size;
    }
    forget_the_dead();
    uint64_t used = total(device->number);
    leave();
    return used < size ? size - used : 0;
}

uint64_t hcs_sim_card_work(const struct hcs_sim_device *device, uint64_t after_ns,
                           uint64_t duration_ns) {
    if (!enter()) {
        return after_ns + duration_ns;
    }
    uint64_t *busy_until_ns = &memory->busy_until_ns[device->number];
    uint64_t begins_ns = after_ns > *busy_until_ns ? after_ns : *busy_until_ns;
    uint64_t ends_ns = *busy_until_ns = begins_ns + duration_ns;
    memory->busy_ns[device->number] += duration_ns;
    leave();
    return ends_ns;
}
