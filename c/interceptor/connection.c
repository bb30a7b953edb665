/* See connection.h. */
#define _GNU_SOURCE
#include "connection.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FIRST 3 /* those below are the application's, also where it closed them */

static bool still_ours(const struct hcs_connection *connection) {
    struct stat stat;
    return connection->fd >= 0 && fstat(connection->fd, &stat) == 0 &&
           stat.st_dev == connection->device && stat.st_ino == connection->inode;
}

bool hcs_connection_open(struct hcs_connection *connection, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat stat;
    connection->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd >= 0 && connection->fd < FIRST) {
        int taken = connection->fd;
        connection->fd = fcntl(taken, F_DUPFD_CLOEXEC, FIRST);
        close(taken);
    }
    if (connection->fd < 0) {
        return false;
    }
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (fstat(connection->fd, &stat) != 0 ||
        connect(connection->fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(connection->fd);
        connection->fd = -1;
        return false;
    }
    connection->device = stat.st_dev;
    connection->inode = stat.st_ino;
    return true;
}

void hcs_connection_close(struct hcs_connection *connection) {
    if (still_ours(connection)) {
        close(connection->fd);
    }
    connection->fd = -1;
}

enum hcs_sent hcs_connection_send(struct hcs_connection *connection, const void *message,
                                  size_t bytes) {
    if (!still_ours(connection)) {
        return HCS_DISCONNECTED;
    }
    if (send(connection->fd, message, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)bytes) {
        return HCS_SENT;
    }
    return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? HCS_SOCKET_FULL
                                                                 : HCS_DISCONNECTED;
}

int hcs_connection_receive(struct hcs_connection *connection, void *message, size_t bytes) {
    if (!still_ours(connection)) {
        return -1;
    }
    ssize_t received = recv(connection->fd, message, bytes, MSG_DONTWAIT | MSG_TRUNC);
    if (received > 0) {
        return (int)received;
    }
    return received < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}
