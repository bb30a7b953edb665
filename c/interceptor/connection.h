/* The socket to the agent: non-blocking, and never mistaken for a descriptor of the application. */
#ifndef HCS_CONNECTION_H
#define HCS_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hcs_connection {
    int fd; /* -1: closed */
    uint64_t device, inode; /* what `fd` was when we opened it */
};

/* Connect; false: nobody listens now. */
bool hcs_connection_open(struct hcs_connection *connection, const char *path);

/* Close, unless the descriptor is no longer ours. */
void hcs_connection_close(struct hcs_connection *connection);

enum hcs_sent { HCS_SENT, HCS_SOCKET_FULL, HCS_DISCONNECTED };

/* Send one message whole or not at all. */
enum hcs_sent hcs_connection_send(struct hcs_connection *connection, const void *message,
                                  size_t bytes);

/* Take one message if there is one: its size, even if that is more than there was room for; 0 for
 * none, -1 when the agent is gone. */
int hcs_connection_receive(struct hcs_connection *connection, void *message, size_t bytes);

#endif
