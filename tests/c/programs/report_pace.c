/* When a process speaks to its agent, by itself: a tick is a step here, not a tenth of a second.
 *
 *   report_pace (refuse|hang_up|serve|launch TICKS)...
 *
 * What the agent does for so many ticks: nobody listens, it hangs up after the first words, or
 * stays; with `launch` it stays and the process launches in every tick. Prints "connect TICK" for
 * each try, "usage TICK" for each message. Built with sanitizers.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../c/interceptor/report.c"

static const char *agent;
static unsigned now;

static bool does(const char *what) { return strcmp(agent, what) == 0; }

bool hcs_connection_open(struct hcs_connection *to, const char *path) {
    (void)path;
    printf("connect %u\n", now);
    to->fd = does("refuse") ? -1 : 0;
    return to->fd >= 0;
}

void hcs_connection_close(struct hcs_connection *to) { to->fd = -1; }

enum hcs_sent hcs_connection_send(struct hcs_connection *to, const void *message, size_t bytes) {
    const struct hcs_wire_header *header = message;
    assert(to->fd >= 0 && header->size == bytes && header->version == HCS_WIRE_VERSION);
    if (header->type == HCS_WIRE_USAGE) {
        assert(((const struct hcs_wire_usage *)message)->launches == launches());
        printf("usage %u\n", now);
    }
    return HCS_SENT;
}

int hcs_connection_receive(struct hcs_connection *from, void *message, size_t bytes) {
    (void)from, (void)message, (void)bytes;
    return 0;
}

const struct hcs_config *hcs_config(void) {
    static const struct hcs_config config = {.device_count = 1};
    return &config;
}

struct hcs_ledger *hcs_account_ledger(unsigned *slot) {
    *slot = 0;
    return NULL;
}

void hcs_ledger_read(const struct hcs_ledger *ledger, struct hcs_wire_usage *usage,
                     uint64_t quota_bytes[HCS_WIRE_DEVICES_MAX]) {
    (void)ledger, (void)usage, (void)quota_bytes;
}

uint64_t hcs_ledger_name(void) { return 1; }

unsigned hcs_ledger_reclaim(struct hcs_ledger *ledger, unsigned slot) {
    (void)ledger, (void)slot;
    return 0;
}

bool hcs_overhead_heed(struct hcs_ledger *ledger, unsigned slot,
                       const struct hcs_wire_driver *word) {
    (void)ledger, (void)slot, (void)word;
    return false;
}

uint64_t hcs_process_self(void) { return 1; }

void hcs_debug(const char *event, const char *detail) { (void)event, (void)detail; }

int main(int argc, char **argv) {
    struct pace pace = {.rest = RECONNECT_TICKS};
    for (int i = 1; i + 1 < argc; i += 2) {
        agent = argv[i];
        for (int ticks = atoi(argv[i + 1]); ticks > 0; ticks--, now++) {
            if (does("refuse") || does("hang_up")) {
                hcs_connection_close(&connection);
            } else if (does("launch")) {
                hcs_report_launching();
                hcs_report_launched(true);
            }
            tick(&pace, NULL);
        }
    }
    return 0;
}
