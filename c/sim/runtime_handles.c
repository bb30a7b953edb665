/* See runtime_handles.h. */
#include "runtime_handles.h"

#include <pthread.h>
#include <stddef.h>

#include "blocks.h"

#define HANDLES_MAX 4096
#define MAPPINGS_MAX 4096
#define ADDRESS_FIRST 0x200000000000ull /* below the blocks' */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of everything below */
static struct { uint64_t handle; unsigned references; } handles[HANDLES_MAX];
static struct mapping { uint64_t address, bytes, handle; } mappings[MAPPINGS_MAX];
static uint64_t address_next = ADDRESS_FIRST;

uint64_t hcs_sim_addresses_reserve(uint64_t bytes) {
    pthread_mutex_lock(&mutex);
    uint64_t address = address_next;
    address_next += bytes;
    pthread_mutex_unlock(&mutex);
    return address;
}

uint64_t hcs_sim_handle_create(const struct hcs_sim_device *device, uint64_t bytes,
                               const void *context) {
    uint64_t handle = hcs_sim_block_allocate(device, bytes, context);
    pthread_mutex_lock(&mutex);
    unsigned i = 0;
    while (i < HANDLES_MAX && handles[i].references > 0) {
        i++;
    }
    bool kept = handle != 0 && i < HANDLES_MAX;
    if (kept) {
        handles[i].handle = handle;
        handles[i].references = 1;
    }
    pthread_mutex_unlock(&mutex);
    if (!kept && handle != 0) {
        hcs_sim_block_free(handle);
    }
    return kept ? handle : 0;
}

/* With the mutex held. */
static unsigned *references_of(uint64_t handle) {
    for (unsigned i = 0; i < HANDLES_MAX; i++) {
        if (handles[i].references > 0 && handles[i].handle == handle) {
            return &handles[i].references;
        }
    }
    return NULL;
}

/* With the mutex held. */
static bool drop(uint64_t handle) {
    unsigned *references = references_of(handle);
    if (references != NULL && --*references == 0) {
        hcs_sim_block_free(handle);
    }
    return references != NULL;
}

/* With the mutex held: the mapping that begins there, or a free entry for address 0. */
static struct mapping *mapping_at(uint64_t address) {
    for (unsigned i = 0; i < MAPPINGS_MAX; i++) {
        if (mappings[i].address == address) {
            return &mappings[i];
        }
    }
    return NULL;
}

bool hcs_sim_handle_map(uint64_t address, uint64_t bytes, uint64_t handle) {
    pthread_mutex_lock(&mutex);
    unsigned *references = references_of(handle);
    struct mapping *place = mapping_at(0);
    bool possible = address != 0 && bytes > 0 && references != NULL && place != NULL &&
                    mapping_at(address) == NULL;
    if (possible) {
        ++*references;
        *place = (struct mapping){address, bytes, handle};
    }
    pthread_mutex_unlock(&mutex);
    return possible;
}

/* With the mutex held. */
static bool whole(uint64_t address, uint64_t bytes) {
    uint64_t covered = 0;
    const struct mapping *mapping;
    while (covered < bytes && (mapping = mapping_at(address + covered)) != NULL) {
        covered += mapping->bytes;
    }
    return bytes > 0 && covered == bytes;
}

bool hcs_sim_handle_unmap(uint64_t address, uint64_t bytes) {
    pthread_mutex_lock(&mutex);
    struct mapping *first = address != 0 ? mapping_at(address) : NULL;
    uint64_t left = bytes == 0 && first != NULL ? first->bytes : bytes;
    bool possible = first != NULL && whole(address, left);
    while (possible && left > 0) {
        struct mapping *mapping = mapping_at(address);
        address += mapping->bytes;
        left -= mapping->bytes;
        drop(mapping->handle);
        *mapping = (struct mapping){0, 0, 0};
    }
    pthread_mutex_unlock(&mutex);
    return possible;
}

bool hcs_sim_handle_retain(uint64_t address, uint64_t *handle) {
    pthread_mutex_lock(&mutex);
    const struct mapping *mapping = address != 0 ? mapping_at(address) : NULL;
    if (mapping != NULL) {
        *handle = mapping->handle;
        ++*references_of(mapping->handle);
    }
    pthread_mutex_unlock(&mutex);
    return mapping != NULL;
}

bool hcs_sim_handle_release(uint64_t handle) {
    pthread_mutex_lock(&mutex);
    bool known = drop(handle);
    pthread_mutex_unlock(&mutex);
    return known;
}
