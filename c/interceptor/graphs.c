/* See graphs.h. */
#define _GNU_SOURCE
#include "graphs.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "hooks.h"
#include "lock.h"
#include "seldom.h"
#include "table.h"

#define PAGE_BYTES (UINT64_C(2) << 20) /* what memory is mapped in */
#define DEPTH_MAX 16                   /* of graphs in graphs */

enum { NODE_GRAPH = 4, NODE_ALLOCATION = 10 };
enum { LOCATION_DEVICE = 1 };

struct executable {
    const struct hcs_graph_runtime *runtime;
    bool committed;
    uint64_t bytes[HCS_CARDS_MAX]; /* by the card's number */
};

static struct hcs_lock lock; /* of all of these */
static struct hcs_table executables; /* handle -> struct executable, of those that allocate */
static bool any;

static void after_fork_in_child(void) {
    memset(&lock, 0, sizeof lock);
    memset(&executables, 0, sizeof executables);
    any = false;
}
__attribute__((constructor)) static void watch_forks(void) {
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

/* The nodes of a graph, to be freed; NULL: it has none, or there is no memory. */
static void **nodes_of(const struct hcs_graph_runtime *runtime, void *graph, size_t *count) {
    int (*get_nodes)(void *, void **, size_t *) = hcs_real(runtime->nodes);
    *count = 0;
    if (get_nodes == NULL || get_nodes(graph, NULL, count) != 0 || *count == 0) {
        return NULL;
    }
    void **nodes = calloc(*count, sizeof *nodes);
    if (nodes != NULL && get_nodes(graph, nodes, count) != 0) {
        free(nodes);
        return NULL;
    }
    return nodes;
}

static void add_allocation(struct executable *executable, void *node) {
    int (*get)(void *, struct hcs_graph_allocation *) = hcs_real(executable->runtime->allocation);
    struct hcs_graph_allocation allocation = {0};
    if (get != NULL && get(node, &allocation) == 0 &&
        allocation.location_type == LOCATION_DEVICE && allocation.location_id >= 0 &&
        allocation.location_id < HCS_CARDS_MAX) {
        executable->bytes[allocation.location_id] += hcs_round_up(allocation.bytes, PAGE_BYTES);
    }
}

/* Add up what the nodes of a graph allocate; true: some do. */
static bool add_nodes(struct executable *executable, void *graph, unsigned depth) {
    const struct hcs_graph_runtime *runtime = executable->runtime;
    int (*get_type)(void *, int *) = hcs_real(runtime->type);
    int (*get_child)(void *, void **) = hcs_real(runtime->child);
    size_t count;
    void **nodes = depth < DEPTH_MAX ? nodes_of(runtime, graph, &count) : NULL;
    bool found = false;
    for (size_t i = 0; nodes != NULL && get_type != NULL && i < count; i++) {
        int type;
        void *child;
        if (get_type(nodes[i], &type) != 0) {
            continue;
        }
        if (type == NODE_ALLOCATION) {
            add_allocation(executable, nodes[i]);
            found = true;
        } else if (type == NODE_GRAPH && get_child != NULL && get_child(nodes[i], &child) == 0) {
            found |= add_nodes(executable, child, depth + 1);
        }
    }
    free(nodes);
    return found;
}

static struct hcs_pool_place place_of(const struct executable *executable, int device) {
    return (struct hcs_pool_place){executable->runtime->kind, (uint64_t)device + 1,
                                   hcs_cards_position(executable->runtime->cards, device)};
}

static void withdraw(struct executable *executable, int devices) {
    for (int device = 0; device < devices; device++) {
        struct hcs_pool_place place = place_of(executable, device);
        if (executable->bytes[device] > 0) {
            hcs_pool_withdraw(&place, executable->bytes[device]);
        }
    }
    executable->committed = false;
}

/* With the lock held: all of it or nothing. */
static bool commit(struct executable *executable) {
    for (int device = 0; device < HCS_CARDS_MAX; device++) {
        struct hcs_pool_place place = place_of(executable, device);
        if (!hcs_pool_commit(&place, executable->bytes[device])) {
            withdraw(executable, device);
            return false;
        }
    }
    executable->committed = true;
    return true;
}

/* With the lock held. */
static void forget(struct executable *executable) {
    if (executable->committed) {
        withdraw(executable, HCS_CARDS_MAX);
    }
    free(executable);
}

static HCS_SELDOM void remember(struct executable *executable, const void *handle) {
    uint64_t value = HCS_KEY(executable);
    hcs_lock(&lock);
    if (hcs_table_put(&executables, HCS_KEY(handle), &value) == HCS_TABLE_REPLACED) {
        forget((struct executable *)(uintptr_t)value); /* its end escaped us */
    }
    __atomic_store_n(&any, true, __ATOMIC_RELAXED);
    hcs_unlock(&lock);
}

void hcs_graph_instantiated(const struct hcs_graph_runtime *runtime, const void *handle,
                            void *graph) {
    struct executable *executable = calloc(1, sizeof *executable);
    if (executable == NULL) {
        return;
    }
    executable->runtime = runtime;
    if (add_nodes(executable, graph, 0)) {
        remember(executable, handle);
    } else {
        free(executable);
    }
}

bool hcs_graph_launching(const void *handle) {
    if (!__atomic_load_n(&any, __ATOMIC_RELAXED) || !hcs_enter()) {
        return true;
    }
    hcs_lock(&lock);
    const uint64_t *found = hcs_table_find(&executables, HCS_KEY(handle));
    struct executable *executable = found != NULL ? (struct executable *)(uintptr_t)*found : NULL;
    bool ready = executable == NULL || executable->committed || commit(executable);
    hcs_unlock(&lock);
    hcs_leave();
    return ready;
}

void hcs_graph_launched(void) {
    if (__atomic_load_n(&any, __ATOMIC_RELAXED) && hcs_enter()) {
        hcs_pools_synchronized();
        hcs_leave();
    }
}

void hcs_graph_ended(const void *handle) {
    uint64_t value;
    if (!__atomic_load_n(&any, __ATOMIC_RELAXED)) {
        return;
    }
    hcs_lock(&lock);
    if (hcs_table_remove(&executables, HCS_KEY(handle), &value)) {
        forget((struct executable *)(uintptr_t)value);
    }
    hcs_unlock(&lock);
}
