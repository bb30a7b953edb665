/* CUDA: the driver layer, below every runtime, linked or static. Contexts and memory; the rest is
 * in hooks_cuda_pools.c, hooks_cuda_work.c and hooks_cuda_lookup.c.
 *
 * Classic, managed and pitched memory and arrays end with their context. What comes from a pool or
 * behind a handle belongs to the card and outlives every context. Not charged: host memory; what is
 * imported from another process, which has it charged already.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "arrays.h"
#include "config.h"
#include "hooks_cuda.h"
#include "lock.h"
#include "pools.h"
#include "seldom.h"
#include "table.h"

const struct hcs_library hcs_cuda_library = {{"libcuda.so.1"}};

#define GRANULARITY_BYTES 512 /* what cuMemAlloc really hands out is a multiple of this */
#define UUID_BYTES 16

HCS_CALLED(cuCtxGetCurrent);
HCS_CALLED(cuCtxGetDevice);
HCS_CALLED(cuDeviceGetUuid_v2);
HCS_CALLED(cuDevicePrimaryCtxGetState);

/* "5ec0ffee-..." as NVML writes it, without the "GPU-" or "MIG-" in front. */
static void format_uuid(const unsigned char uuid[UUID_BYTES], char text[37]) {
    char *end = text;
    for (unsigned i = 0; i < UUID_BYTES; i++) {
        end += snprintf(end, 4, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", uuid[i]);
    }
}

/* CUDA_VISIBLE_DEVICES may hide and reorder cards inside the container, so an ordinal alone does
 * not name one: the UUID does, also a slice's (MIG), which only the second form tells. Without ids,
 * or with one we were not told, the ordinal must do. */
static int find_card(int device) {
    int (*get_uuid)(unsigned char *, int) = hcs_real(&find_cuDeviceGetUuid_v2);
    unsigned char uuid[UUID_BYTES];
    char text[37];
    if (get_uuid == NULL || get_uuid(uuid, device) != CUDA_SUCCESS) {
        return device;
    }
    format_uuid(uuid, text);
    int position = hcs_cards_named(text, 36);
    return position >= 0 ? position : device;
}

struct hcs_cards hcs_cuda_cards = {.find = find_card};

/* Contexts that were seen, so that what they hold can be given back with them. A number is used
 * again when its context ended; without a free one, charges stay until they are freed. */
static pthread_mutex_t contexts_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct context {
    void *context; /* NULL: free */
    int card;
} contexts[HCS_CONTEXTS_MAX];
static unsigned contexts_used = 1;  /* 0 stands for none */
static unsigned contexts_ended;     /* grows: what threads remember about contexts is void */
static void *primary[HCS_CARDS_MAX]; /* by device */

static int current_card(void) {
    int (*get_device)(int *) = hcs_real(&find_cuCtxGetDevice);
    int device;
    bool known = get_device != NULL && get_device(&device) == CUDA_SUCCESS;
    return known ? hcs_cards_position(&hcs_cuda_cards, device) : -1;
}

/* The number of a context, given to it now if it has none. */
static HCS_SELDOM struct hcs_cuda_place place_of(void *context) {
    unsigned free_number = 0, number = 1;
    struct hcs_cuda_place place = {current_card(), 0};
    pthread_mutex_lock(&contexts_mutex);
    while (number < contexts_used && contexts[number].context != context) {
        free_number = contexts[number].context == NULL ? number : free_number;
        number++;
    }
    if (number == contexts_used) {
        number = free_number != 0 ? free_number : number;
        contexts_used += number == contexts_used && number < HCS_CONTEXTS_MAX;
    }
    if (number < contexts_used) {
        contexts[number] = (struct context){context, place.card};
        place.context = number;
    }
    pthread_mutex_unlock(&contexts_mutex);
    return place;
}

/* The current context; each thread remembers its last one. */
static inline struct hcs_cuda_place current_place(void) {
    static __thread struct {
        void *context;
        unsigned ended;
        struct hcs_cuda_place place;
    } last __attribute__((tls_model("initial-exec")));
    int (*get_current)(void **) = hcs_real(&find_cuCtxGetCurrent);
    void *context = NULL;
    if (get_current == NULL || get_current(&context) != CUDA_SUCCESS || context == NULL) {
        return (struct hcs_cuda_place){-1, 0};
    }
    unsigned ended = __atomic_load_n(&contexts_ended, __ATOMIC_ACQUIRE);
    if (last.context != context || last.ended != ended) {
        last.place = place_of(context);
        last.context = context;
        last.ended = ended;
    }
    return last.place;
}

struct hcs_cuda_place hcs_cuda_current(void) { return current_place(); }

/* A context is about to end: its number is nobody's from now on, though the next context may get
 * its address. Returns the number, 0 for a context that we never saw. */
static unsigned context_ending(const void *context) {
    unsigned found = 0;
    pthread_mutex_lock(&contexts_mutex);
    for (unsigned number = 1; context != NULL && number < contexts_used; number++) {
        if (contexts[number].context == context) {
            contexts[number].context = &contexts[number]; /* no context's address */
            found = number;
        }
    }
    pthread_mutex_unlock(&contexts_mutex);
    __atomic_fetch_add(&contexts_ended, 1, __ATOMIC_RELEASE);
    hcs_share_ended(found);
    return found;
}

static void context_ended(unsigned number) {
    if (number != 0) {
        hcs_ended(contexts[number].card, number);
        pthread_mutex_lock(&contexts_mutex);
        contexts[number].context = NULL;
        pthread_mutex_unlock(&contexts_mutex);
    }
}

static hcs_charge in_context(uint64_t bytes) {
    struct hcs_cuda_place place = current_place();
    bytes = hcs_round_up(bytes, GRANULARITY_BYTES);
    hcs_pools_make_room(place.card, bytes);
    return hcs_reserve_in(place.card, place.context, bytes);
}

/* cuMemAllocPitch's rows: 512 bytes suit every card's textures. */
static hcs_charge in_rows(size_t width, size_t height) {
    return in_context(hcs_product(hcs_round_up(width, GRANULARITY_BYTES), height));
}

HCS_ALLOCATION(cuMemAlloc_v2, (uint64_t *pointer, size_t bytes), (pointer, bytes),
               in_context(bytes), *pointer);
HCS_ALLOCATION(cuMemAllocManaged, (uint64_t *pointer, size_t bytes, unsigned flags),
               (pointer, bytes, flags), in_context(bytes), *pointer);
HCS_ALLOCATION(cuMemAllocPitch_v2,
               (uint64_t *pointer, size_t *pitch, size_t width, size_t height, unsigned element),
               (pointer, pitch, width, height, element), in_rows(width, height), *pointer);
HCS_POOL_FREE(cuMemFree_v2, (uint64_t pointer), (pointer), pointer);

HCS_ALLOCATION(cuArrayCreate_v2, (void **array, const struct hcs_array_descriptor *descriptor),
               (array, descriptor), in_context(hcs_array2d_bytes(descriptor)), HCS_KEY(*array));
HCS_ALLOCATION(cuArray3DCreate_v2,
               (void **array, const struct hcs_array3d_descriptor *descriptor),
               (array, descriptor), in_context(hcs_array3d_bytes(descriptor, 1)),
               HCS_KEY(*array));
HCS_ALLOCATION(cuMipmappedArrayCreate,
               (void **array, const struct hcs_array3d_descriptor *descriptor, unsigned levels),
               (array, descriptor, levels), in_context(hcs_array3d_bytes(descriptor, levels)),
               HCS_KEY(*array));
HCS_FREE(cuArrayDestroy, (void *array), (array), hcs_take(HCS_KEY(array)), HCS_KEY(array));
HCS_FREE(cuMipmappedArrayDestroy, (void *array), (array), hcs_take(HCS_KEY(array)),
         HCS_KEY(array));

struct memory_location { /* the part of CUmemAllocationProp that says where */
    int allocation_type, handle_types;
    int location_type, location_id;
};

/* The size is a multiple of the granularity already: the driver takes no other. */
static hcs_charge at_location(const struct memory_location *location, size_t bytes) {
    int device =
        location != NULL ? hcs_cuda_device_at(location->location_type, location->location_id) : -1;
    int card = hcs_cards_position(&hcs_cuda_cards, device);
    hcs_pools_make_room(card, bytes);
    return hcs_reserve(card, bytes);
}

typedef uint64_t HANDLE;
HCS_ALLOCATION(cuMemCreate,
               (HANDLE * handle, size_t bytes, const struct memory_location *location,
                uint64_t flags),
               (handle, bytes, location, flags), at_location(location, bytes),
               hcs_handle_created(*handle));
HCS_MAPS(cuMemMap, uint64_t);
HCS_UNMAPS(cuMemUnmap, uint64_t);
HCS_RETAINS(cuMemRetainAllocationHandle);
HCS_RELEASES(cuMemRelease);

/* Contexts that the program made: none of them is a card's primary one. */
static struct hcs_lock made_lock;
static struct hcs_table made; /* handle -> 1 */

static void context_made(const void *context) {
    uint64_t one = 1;
    hcs_lock(&made_lock);
    hcs_table_put(&made, HCS_KEY(context), &one);
    hcs_unlock(&made_lock);
}

static bool was_made(const void *context) {
    hcs_lock(&made_lock);
    bool found = hcs_table_find(&made, HCS_KEY(context)) != NULL;
    hcs_unlock(&made_lock);
    return found;
}

static void made_ended(const void *context) {
    uint64_t one;
    hcs_lock(&made_lock);
    hcs_table_remove(&made, HCS_KEY(context), &one);
    hcs_unlock(&made_lock);
}

HCS_AFTER(cuCtxCreate, (void **context, unsigned flags, int device), (context, flags, device),
          context_made(*context));
HCS_AFTER(cuCtxCreate_v2, (void **context, unsigned flags, int device), (context, flags, device),
          context_made(*context));
HCS_AFTER(cuCtxCreate_v3,
          (void **context, void *affinities, int count, unsigned flags, int device),
          (context, affinities, count, flags, device), context_made(*context));
HCS_AFTER(cuCtxCreate_v4, (void **context, void *parameters, unsigned flags, int device),
          (context, parameters, flags, device), context_made(*context));
#define ENDS_CONTEXT(FUNCTION)                                                                    \
    HCS_AROUND(FUNCTION, (void *context), (context), unsigned number = context_ending(context),   \
               made_ended(context);                                                               \
               context_ended(number))
ENDS_CONTEXT(cuCtxDestroy);
ENDS_CONTEXT(cuCtxDestroy_v2);

static void remember_primary(int device, void *context) {
    if (device >= 0 && device < HCS_CARDS_MAX) {
        __atomic_store_n(&primary[device], context, __ATOMIC_RELEASE);
    }
}

static bool is_active(int device) {
    int (*get_state)(int, unsigned *, int *) = hcs_real(&find_cuDevicePrimaryCtxGetState);
    unsigned flags;
    int active = 1;
    return get_state == NULL || get_state(device, &flags, &active) != CUDA_SUCCESS || active;
}

/* The runtime has its primary contexts by a way of its own, and makes them current. */
static void *runtimes_primary(int device) {
    int (*get_current)(void **) = hcs_real(&find_cuCtxGetCurrent);
    int (*get_device)(int *) = hcs_real(&find_cuCtxGetDevice);
    void *context = NULL;
    int current;
    bool known = get_current != NULL && get_device != NULL && is_active(device) &&
                 get_device(&current) == CUDA_SUCCESS && current == device &&
                 get_current(&context) == CUDA_SUCCESS && !was_made(context);
    return known ? context : NULL;
}

static HCS_SELDOM void *primary_of(int device) {
    bool known = device >= 0 && device < HCS_CARDS_MAX;
    void *context = known ? __atomic_load_n(&primary[device], __ATOMIC_ACQUIRE) : NULL;
    return context != NULL ? context : runtimes_primary(device);
}

/* Only the last release ends it. */
static void primary_released(int device, const void *context) {
    if (!is_active(device)) {
        context_ended(context_ending(context));
    }
}

HCS_AFTER(cuDevicePrimaryCtxRetain, (void **context, int device), (context, device),
          remember_primary(device, *context));
/* The runtime asks for the older forms, whatever its version. */
HCS_AROUND(cuDevicePrimaryCtxRelease, (int device), (device),
           const void *context = primary_of(device), primary_released(device, context));
HCS_AROUND(cuDevicePrimaryCtxRelease_v2, (int device), (device),
           const void *context = primary_of(device), primary_released(device, context));
HCS_AROUND(cuDevicePrimaryCtxReset, (int device), (device),
           unsigned number = context_ending(primary_of(device)), context_ended(number));
HCS_AROUND(cuDevicePrimaryCtxReset_v2, (int device), (device),
           unsigned number = context_ending(primary_of(device)), context_ended(number));

HCS_AFTER(cuMemGetInfo_v2, (size_t *free_bytes, size_t *total_bytes), (free_bytes, total_bytes),
          hcs_pools_synchronized();
          hcs_show_quota(current_place().card, free_bytes, total_bytes));
HCS_AFTER(cuDeviceTotalMem_v2, (size_t *bytes, int device), (bytes, device),
          hcs_show_quota(hcs_cards_position(&hcs_cuda_cards, device), NULL, bytes));

