/* The memory of graphs' allocation nodes, as CUDA has it and those that are shaped after it.
 *
 * A node's address is fixed when it is added; memory is taken at a launch or an upload. Graphs in
 * the same stream never run at once, so what they free themselves is the same memory for all of
 * them; another stream has its own. What a graph does not free stays until somebody frees it, and
 * it cannot be launched again before. Nothing goes back to the card, though a graph be destroyed,
 * until the card's graph memory is trimmed; and then not what is in use.
 */
#ifndef HCS_SIM_GRAPH_MEMORY_H
#define HCS_SIM_GRAPH_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scenario.h"

enum { HCS_SIM_NODE_ALLOCATION = 10, HCS_SIM_NODE_FREE = 11 };
enum { HCS_SIM_GRAPHS_USED_CURRENT = 0, HCS_SIM_GRAPHS_RESERVED_CURRENT = 2 };

struct hcs_sim_allocation_node { /* CUDA_MEM_ALLOC_NODE_PARAMS, hipMemAllocNodeParams */
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
_Static_assert(sizeof(struct hcs_sim_allocation_node) == 120, "CUDA_MEM_ALLOC_NODE_PARAMS");

/* Add a node to a graph, or, with the capturing stream for a graph, to what that will become. An
 * allocation gets its address. False: too many nodes, or nothing to free there. */
bool hcs_sim_node_allocation(const void *graph, const struct hcs_sim_device *card,
                             struct hcs_sim_allocation_node *parameters, void **node);
bool hcs_sim_node_free(const void *graph, uint64_t address, void **node);
void hcs_sim_nodes_captured(const void *stream, const void *graph);

/* Of one node, and the nodes of a graph: as many as fit, the number of all in `count`. */
int hcs_sim_node_type(const void *node);
bool hcs_sim_node_parameters(const void *node, struct hcs_sim_allocation_node *parameters);
void hcs_sim_nodes(const void *graph, void **nodes, size_t *count);

/* Take what a graph needs in a stream; results are card_work.h's. */
int hcs_sim_graph_map(const void *graph, const void *stream);

/* Free what a graph left; false: it is nothing of that sort. */
bool hcs_sim_graph_allocation_free(uint64_t address);

uint64_t hcs_sim_graphs_attribute(const struct hcs_sim_device *card, int attribute);
void hcs_sim_graphs_trim(const struct hcs_sim_device *card);

#endif
