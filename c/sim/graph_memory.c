/* See graph_memory.h. */
#include "graph_memory.h"

#include <pthread.h>

#include "card_memory.h"
#include "card_work.h"
#include "runtime_handles.h"

#define NODES_MAX 1024
#define SHARED_MAX 256
#define PAGE_BYTES (UINT64_C(2) << 20)

struct node {
    const void *graph; /* NULL: free */
    int type;
    const struct hcs_sim_device *card;
    struct hcs_sim_allocation_node parameters;
    bool freed_inside; /* its graph has a node that frees it */
    bool held;         /* a launch left it */
};
struct shared { /* of all graphs in a stream */
    const struct hcs_sim_device *card; /* NULL: free */
    const void *stream;
    uint64_t bytes;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of all of these */
static struct node nodes[NODES_MAX];
static struct shared shared[SHARED_MAX];
static uint64_t idle_bytes[HCS_SIM_DEVICES_MAX]; /* reserved, and of no use to anybody now */

/* With the mutex held, as all that follow. */
static struct node *add(const void *graph, int type, void **handle) {
    for (unsigned i = 0; i < NODES_MAX; i++) {
        if (nodes[i].graph == NULL) {
            nodes[i] = (struct node){.graph = graph, .type = type};
            if (handle != NULL) {
                *handle = &nodes[i];
            }
            return &nodes[i];
        }
    }
    return NULL;
}

static struct node *allocation_at(uint64_t address) {
    for (unsigned i = 0; i < NODES_MAX; i++) {
        if (nodes[i].graph != NULL && nodes[i].type == HCS_SIM_NODE_ALLOCATION &&
            nodes[i].parameters.address == address) {
            return &nodes[i];
        }
    }
    return NULL;
}

static uint64_t pages(const struct node *node) {
    return (node->parameters.bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

bool hcs_sim_node_allocation(const void *graph, const struct hcs_sim_device *card,
                             struct hcs_sim_allocation_node *parameters, void **handle) {
    pthread_mutex_lock(&mutex);
    struct node *node = add(graph, HCS_SIM_NODE_ALLOCATION, handle);
    if (node != NULL) {
        parameters->address = hcs_sim_addresses_reserve(parameters->bytes);
        node->parameters = *parameters;
        node->card = card;
    }
    pthread_mutex_unlock(&mutex);
    return node != NULL;
}

bool hcs_sim_node_free(const void *graph, uint64_t address, void **handle) {
    pthread_mutex_lock(&mutex);
    struct node *allocation = allocation_at(address);
    bool possible = allocation != NULL && !allocation->freed_inside;
    struct node *node = possible ? add(graph, HCS_SIM_NODE_FREE, handle) : NULL;
    if (node != NULL) {
        node->parameters.address = address;
        allocation->freed_inside = allocation->graph == graph;
    }
    pthread_mutex_unlock(&mutex);
    return node != NULL;
}

void hcs_sim_nodes_captured(const void *stream, const void *graph) {
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < NODES_MAX; i++) {
        nodes[i].graph = nodes[i].graph == stream && stream != NULL ? graph : nodes[i].graph;
    }
    pthread_mutex_unlock(&mutex);
}

static const struct node *node_of(const void *handle) {
    const struct node *node = handle;
    return node >= nodes && node < nodes + NODES_MAX && node->graph != NULL ? node : NULL;
}

int hcs_sim_node_type(const void *handle) {
    pthread_mutex_lock(&mutex);
    const struct node *node = node_of(handle);
    int type = node != NULL ? node->type : -1;
    pthread_mutex_unlock(&mutex);
    return type;
}

bool hcs_sim_node_parameters(const void *handle, struct hcs_sim_allocation_node *parameters) {
    pthread_mutex_lock(&mutex);
    const struct node *node = node_of(handle);
    bool known = node != NULL && node->type == HCS_SIM_NODE_ALLOCATION;
    if (known) {
        *parameters = node->parameters;
    }
    pthread_mutex_unlock(&mutex);
    return known;
}

void hcs_sim_nodes(const void *graph, void **handles, size_t *count) {
    size_t found = 0;
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < NODES_MAX; i++) {
        if (nodes[i].graph == graph) {
            if (handles != NULL && found < *count) {
                handles[found] = &nodes[i];
            }
            found++;
        }
    }
    pthread_mutex_unlock(&mutex);
    *count = found;
}

/* From what lies idle, else from the card. */
static bool take(const struct hcs_sim_device *card, uint64_t bytes) {
    uint64_t *idle = &idle_bytes[card->number];
    uint64_t reused = bytes < *idle ? bytes : *idle;
    bool taken = bytes == reused || hcs_sim_memory_take(card, bytes - reused);
    *idle -= taken ? reused : 0;
    return taken;
}

static struct shared *shared_of(const struct hcs_sim_device *card, const void *stream) {
    struct shared *found = NULL;
    for (unsigned i = 0; i < SHARED_MAX; i++) {
        if (shared[i].card == card && shared[i].stream == stream) {
            return &shared[i];
        }
        found = found == NULL && shared[i].card == NULL ? &shared[i] : found;
    }
    if (found != NULL) {
        *found = (struct shared){card, stream, 0};
    }
    return found;
}

/* What a graph frees itself, on one card. */
static uint64_t passing_bytes(const void *graph, const struct hcs_sim_device *card) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < NODES_MAX; i++) {
        bool counts = nodes[i].graph == graph && nodes[i].card == card && nodes[i].freed_inside;
        bytes += counts ? pages(&nodes[i]) : 0;
    }
    return bytes;
}

static int map(struct node *node, const void *stream) {
    if (!node->freed_inside) {
        node->held = take(node->card, pages(node));
        return node->held ? HCS_SIM_DONE : HCS_SIM_OUT_OF_MEMORY;
    }
    struct shared *common = shared_of(node->card, stream);
    uint64_t wanted = passing_bytes(node->graph, node->card);
    if (common == NULL) {
        return HCS_SIM_OUT_OF_MEMORY;
    }
    if (common->bytes < wanted) {
        if (!take(node->card, wanted - common->bytes)) {
            return HCS_SIM_OUT_OF_MEMORY;
        }
        common->bytes = wanted;
    }
    return HCS_SIM_DONE;
}

static bool give_up(struct node *node) {
    bool held = node != NULL && node->held;
    if (held) {
        node->held = false;
        idle_bytes[node->card->number] += pages(node);
    }
    return held;
}

int hcs_sim_graph_map(const void *graph, const void *stream) {
    int result = HCS_SIM_DONE;
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < NODES_MAX; i++) {
        bool left = nodes[i].graph == graph && nodes[i].held;
        result = left ? HCS_SIM_INVALID_VALUE : result;
    }
    for (unsigned i = 0; i < NODES_MAX && result == HCS_SIM_DONE; i++) {
        if (nodes[i].graph == graph && nodes[i].type == HCS_SIM_NODE_ALLOCATION) {
            result = map(&nodes[i], stream);
        } else if (nodes[i].graph == graph) { /* a free, of another graph's: it is done at once */
            give_up(allocation_at(nodes[i].parameters.address));
        }
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

bool hcs_sim_graph_allocation_free(uint64_t address) {
    pthread_mutex_lock(&mutex);
    bool held = give_up(allocation_at(address));
    pthread_mutex_unlock(&mutex);
    return held;
}

uint64_t hcs_sim_graphs_attribute(const struct hcs_sim_device *card, int attribute) {
    pthread_mutex_lock(&mutex);
    uint64_t bytes = attribute == HCS_SIM_GRAPHS_RESERVED_CURRENT ? idle_bytes[card->number] : 0;
    for (unsigned i = 0; i < NODES_MAX; i++) {
        bytes += nodes[i].held && nodes[i].card == card ? pages(&nodes[i]) : 0;
    }
    for (unsigned i = 0; i < SHARED_MAX; i++) {
        bytes += shared[i].card == card ? shared[i].bytes : 0;
    }
    pthread_mutex_unlock(&mutex);
    return bytes;
}

void hcs_sim_graphs_trim(const struct hcs_sim_device *card) {
    pthread_mutex_lock(&mutex);
    for (unsigned i = 0; i < SHARED_MAX; i++) {
        void *stream = (void *)(uintptr_t)shared[i].stream;
        if (shared[i].card == card && hcs_sim_stream_query(card, stream) == HCS_SIM_DONE) {
            idle_bytes[card->number] += shared[i].bytes;
            shared[i].card = NULL;
        }
    }
    hcs_sim_memory_give(card, idle_bytes[card->number]);
    idle_bytes[card->number] = 0;
    pthread_mutex_unlock(&mutex);
}
