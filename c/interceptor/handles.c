/* See handles.h. */
#include "handles.h"

#include <pthread.h>
#include <string.h>

#include "table.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of the tables */
static struct hcs_table references; /* handle -> how many */
static struct hcs_table mapped_to;  /* address -> handle */
static struct hcs_table sizes;      /* address -> bytes */

uint64_t hcs_handle_created(uint64_t handle) {
    pthread_mutex_lock(&mutex);
    hcs_table_put(&references, handle, &(uint64_t){1});
    pthread_mutex_unlock(&mutex);
    return handle;
}

void hcs_handle_retained(uint64_t handle) {
    pthread_mutex_lock(&mutex);
    uint64_t *count = hcs_table_find(&references, handle);
    if (count != NULL) {
        ++*count;
    }
    pthread_mutex_unlock(&mutex);
}

void hcs_handle_mapped(uint64_t handle, uint64_t address, size_t bytes) {
    pthread_mutex_lock(&mutex);
    uint64_t *count = hcs_table_find(&references, handle);
    if (count != NULL && address != 0) {
        hcs_table_put(&sizes, address, &(uint64_t){bytes});
        hcs_table_put(&mapped_to, address, &(uint64_t){handle});
        ++*count;
    }
    pthread_mutex_unlock(&mutex);
}

/* With the mutex held: drop one reference; true: it was the last. */
static bool drop(uint64_t handle) {
    uint64_t *count = hcs_table_find(&references, handle);
    if (count == NULL || --*count > 0) {
        return false;
    }
    return hcs_table_remove(&references, handle, &(uint64_t){0});
}

hcs_charge hcs_handle_release(uint64_t handle) {
    pthread_mutex_lock(&mutex);
    bool last = drop(handle);
    pthread_mutex_unlock(&mutex);
    return last ? hcs_take(handle) : HCS_UNENFORCED;
}

/* With the mutex held: the bytes of the mapping that begins here, 0 when we know none. */
static uint64_t size_at(uint64_t address) {
    const uint64_t *bytes = hcs_table_find(&sizes, address);
    return bytes != NULL ? *bytes : 0;
}

/* With the mutex held: whether whole mappings fill the range. What does not, the runtime refuses
 * to unmap, and what it refuses must not change our books. */
static bool is_whole(uint64_t address, uint64_t bytes) {
    uint64_t covered = 0, size;
    while (covered < bytes && (size = size_at(address + covered)) > 0) {
        covered += size;
    }
    return bytes > 0 && covered == bytes;
}

struct hcs_unmapped hcs_handle_unmap(uint64_t address, size_t bytes) {
    struct hcs_unmapped unmapped = {{0}};
    pthread_mutex_lock(&mutex);
    uint64_t left = bytes != 0 ? bytes : size_at(address);
    while (left > 0 && is_whole(address, left)) {
        uint64_t size = 0, handle = 0;
        hcs_table_remove(&sizes, address, &size);
        if (hcs_table_remove(&mapped_to, address, &handle) && drop(handle)) {
            hcs_charge charge = hcs_take(handle);
            unmapped.bytes[hcs_block_device(charge)] += hcs_block_bytes(charge);
        }
        address += size;
        left -= size;
    }
    pthread_mutex_unlock(&mutex);
    return unmapped;
}

void hcs_handle_give_back(const struct hcs_unmapped *unmapped) {
    for (unsigned device = 0; device < HCS_WIRE_DEVICES_MAX; device++) {
        if (unmapped->bytes[device] > 0) {
            hcs_settle(hcs_block_of(unmapped->bytes[device], device, 0), 0);
        }
    }
}

void hcs_handles_forget(void) {
    pthread_mutex_init(&mutex, NULL);
    memset(&references, 0, sizeof references);
    memset(&mapped_to, 0, sizeof mapped_to);
    memset(&sizes, 0, sizeof sizes);
}
