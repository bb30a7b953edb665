/* The memory of graphs' allocation nodes, as CUDA has them and those that are shaped after it.
 *
 * A node has its address from the beginning, but takes memory only when its graph is launched (or
 * uploaded for that). How much all of them together may take is read from the graph when it is
 * instantiated, whoever added the nodes; the first launch asks for it, and is refused if there is
 * no room (pools.h, "committed"). What the card's graphs still hold after that is the runtime's to
 * say, until it is trimmed.
 */
#ifndef HCS_GRAPHS_H
#define HCS_GRAPHS_H

#include <stdbool.h>

#include "cards.h"
#include "pools.h"
#include "symbols.h"

/* What is called of a runtime. */
struct hcs_graph_runtime {
    struct hcs_symbol *nodes;      /* int (void *graph, void **nodes, size_t *count) */
    struct hcs_symbol *type;       /* int (void *node, int *type) */
    struct hcs_symbol *allocation; /* int (void *node, struct hcs_graph_allocation *) */
    struct hcs_symbol *child;      /* int (void *node, void **graph) */
    const struct hcs_pool_kind *kind; /* of the cards' pools, whose key is 1 + the card's number */
    struct hcs_cards *cards;
};

/* CUDA_MEM_ALLOC_NODE_PARAMS, hipMemAllocNodeParams. */
struct hcs_graph_allocation {
    int allocation_type, handle_types;
    int location_type, location_id;
    void *security;
    size_t size_max;
    char reserved[56];
    const void *access;
    size_t access_count;
    size_t bytes;
    uint64_t address;
};
_Static_assert(sizeof(struct hcs_graph_allocation) == 120, "CUDA_MEM_ALLOC_NODE_PARAMS");

/* A graph was made executable. */
void hcs_graph_instantiated(const struct hcs_graph_runtime *runtime, const void *executable,
                            void *graph);

/* Before a launch, or an upload; false: there is no room for what it may take. And after it. */
bool hcs_graph_launching(const void *executable);
void hcs_graph_launched(void);

/* It was destroyed. */
void hcs_graph_ended(const void *executable);

/* An upload maps what the launch would. */
#define HCS_GRAPH_UPLOAD(FUNCTION)                                                                \
    HCS_HOOK int FUNCTION(void *executable, void *stream);                                        \
    HCS_SYMBOL(FUNCTION, LIBRARY, FUNCTION);                                                      \
    int FUNCTION(void *executable, void *stream) {                                                \
        int (*real)(void *, void *) = hcs_real(&find_##FUNCTION);                                 \
        if (real == NULL) {                                                                       \
            return NOT_THERE;                                                                     \
        }                                                                                         \
        bool ready = hcs_graph_launching(executable);                                             \
        int result = ready ? real(executable, stream) : OUT_OF_MEMORY;                            \
        hcs_graph_launched();                                                                     \
        return result;                                                                            \
    }                                                                                             \
    struct hcs_symbol

#endif
