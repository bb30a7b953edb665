/* See handles.h. */
#include "handles.h"

#include <pthread.h>
#include <string.h>

#include "table.h"

#define STRANGE 0 /* a handle that we did not see created; it may be unmapped with ours */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of the tables */
static struct hcs_table references; /* handle -> how many */
static struct mappings {
    struct hcs_table handles, sizes; /* of an address */
} mapped, leaving;                   /* leaving: being unmapped just now */

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
    if (count != NULL) {
        ++*count;
    }
    hcs_table_put(&mapped.sizes, address, &(uint64_t){bytes});
    hcs_table_put(&mapped.handles, address, &(uint64_t){count != NULL ? handle : STRANGE});
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

void hcs_handle_not_released(uint64_t handle, hcs_charge charge) {
    pthread_mutex_lock(&mutex);
    uint64_t *count = hcs_table_find(&references, handle);
    if (count != NULL) {
        ++*count;
    } else if (charge != HCS_UNENFORCED) {
        hcs_table_put(&references, handle, &(uint64_t){1});
    }
    pthread_mutex_unlock(&mutex);
    hcs_settle(charge, handle);
}

/* With the mutex held: the bytes of the mapping that begins here, 0 when we know none. */
static uint64_t size_at(const struct mappings *mappings, uint64_t address) {
    const uint64_t *bytes = hcs_table_find(&mappings->sizes, address);
    return bytes != NULL ? *bytes : 0;
}

/* With the mutex held: whether whole mappings fill the range. What does not, the runtime refuses
 * to unmap, and what it refuses must not change our books. */
static bool is_whole(uint64_t address, uint64_t bytes) {
    uint64_t covered = 0, size;
    while (covered < bytes && (size = size_at(&mapped, address + covered)) > 0) {
        covered += size;
    }
    return bytes > 0 && covered == bytes;
}

/* With the mutex held: take a mapping out; returns its handle. */
static uint64_t take_out(struct mappings *mappings, uint64_t address) {
    uint64_t size, handle = 0;
    hcs_table_remove(&mappings->sizes, address, &size);
    hcs_table_remove(&mappings->handles, address, &handle);
    return handle;
}

/* With the mutex held: move all mappings of a range. */
static void move(struct mappings *from, struct mappings *to, uint64_t address, uint64_t bytes) {
    uint64_t end = address + bytes, size;
    for (; address < end && (size = size_at(from, address)) > 0; address += size) {
        hcs_table_put(&to->sizes, address, &(uint64_t){size});
        hcs_table_put(&to->handles, address, &(uint64_t){take_out(from, address)});
    }
}

struct hcs_unmapped hcs_handle_unmap(uint64_t address, size_t bytes) {
    pthread_mutex_lock(&mutex);
    uint64_t wanted = bytes != 0 ? bytes : size_at(&mapped, address);
    struct hcs_unmapped unmapped = {address, is_whole(address, wanted) ? wanted : 0};
    move(&mapped, &leaving, address, unmapped.bytes);
    pthread_mutex_unlock(&mutex);
    return unmapped;
}

void hcs_handle_not_unmapped(const struct hcs_unmapped *unmapped) {
    pthread_mutex_lock(&mutex);
    move(&leaving, &mapped, unmapped->address, unmapped->bytes);
    pthread_mutex_unlock(&mutex);
}

void hcs_handle_give_back(const struct hcs_unmapped *unmapped) {
    uint64_t freed_bytes[HCS_WIRE_DEVICES_MAX] = {0};
    uint64_t address = unmapped->address, end = address + unmapped->bytes, size;
    pthread_mutex_lock(&mutex);
    for (; address < end && (size = size_at(&leaving, address)) > 0; address += size) {
        uint64_t handle = take_out(&leaving, address);
        if (drop(handle)) {
            hcs_charge charge = hcs_take(handle);
            freed_bytes[hcs_block_device(charge)] += hcs_block_bytes(charge);
        }
    }
    pthread_mutex_unlock(&mutex);
    for (unsigned device = 0; device < HCS_WIRE_DEVICES_MAX; device++) {
        if (freed_bytes[device] > 0) {
            hcs_settle(hcs_block_of(freed_bytes[device], device, 0), 0);
        }
    }
}

void hcs_handles_forget(void) {
    pthread_mutex_init(&mutex, NULL);
    memset(&references, 0, sizeof references);
    memset(&mapped, 0, sizeof mapped);
    memset(&leaving, 0, sizeof leaving);
}
