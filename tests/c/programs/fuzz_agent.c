/* A fuzzer with a seed: what an agent, or whoever sits at its socket, may say to a process. Built
 * with sanitizers. Prints how many packets there were, and how many of them were believed.
 *
 *   fuzz_agent SEED PACKETS
 */
#define _GNU_SOURCE
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../c/interceptor/overhead.c"
#include "../../../c/interceptor/report.c"

#define QUOTA_BYTES 1000000u
#define LEDGER_NAME 77
#define PACKET_BYTES_MAX 4096

static struct hcs_ledger ledger;
static uint8_t packet[PACKET_BYTES_MAX];
static int packet_bytes; /* to be received; 0: none, -1: the agent is gone */
static uint64_t state;

static uint32_t next(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

static uint32_t below(uint32_t limit) { return next() % limit; }

static uint64_t any_number(void) {
    return ((uint64_t)next() << 32 | next()) >> below(64);
}

int hcs_connection_receive(struct hcs_connection *from, void *message, size_t bytes) {
    int received = packet_bytes;
    (void)from;
    if (received > 0) {
        memcpy(message, packet, (size_t)received < bytes ? (size_t)received : bytes);
    }
    packet_bytes = 0;
    return received;
}

void hcs_connection_close(struct hcs_connection *to) { to->fd = -1; }

bool hcs_connection_open(struct hcs_connection *to, const char *path) {
    (void)to, (void)path;
    return false;
}

enum hcs_sent hcs_connection_send(struct hcs_connection *to, const void *message, size_t bytes) {
    (void)to, (void)message, (void)bytes;
    return HCS_SENT;
}

struct hcs_ledger *hcs_account_ledger(unsigned *slot) {
    *slot = 0;
    return NULL;
}

uint64_t hcs_ledger_name(void) { return LEDGER_NAME; }

/* What an agent says, and then something of it may be otherwise. */
static void any_packet(void) {
    struct hcs_wire_driver driver = {
        .header = {HCS_WIRE_MAGIC, HCS_WIRE_VERSION, HCS_WIRE_DRIVER, sizeof driver, 0},
        .epoch_ns = LEDGER_NAME,
        .looked_at_ns = monotonic_ns() - (below(4) == 0 ? any_number() : 0),
        .device_count = below(8) == 0 ? next() : ledger.device_count,
    };
    if (below(4) == 0) {
        driver.header.type = HCS_WIRE_RECLAIM;
        driver.header.size = sizeof driver.header;
    }
    for (unsigned i = 0; i < HCS_WIRE_DEVICES_MAX; i++) {
        driver.used_bytes[i] = below(3) == 0 ? HCS_WIRE_NOT_TOLD : any_number();
    }
    packet_bytes = (int)driver.header.size;
    memcpy(packet, &driver, sizeof driver);
    switch (below(6)) {
    case 0:
        packet[below(sizeof driver)] = (uint8_t)next();
        break;
    case 1:
        packet_bytes = (int)below(PACKET_BYTES_MAX + 1) - 1;
        break;
    case 2:
        for (unsigned i = 0; i < sizeof packet; i++) {
            packet[i] = (uint8_t)next();
        }
        break;
    }
}

/* Whatever was said: the slot holds what was found, of cards that there are, and nothing beyond the
 * bounds; the other slots hold nothing. */
static void check(void) {
    for (unsigned device = 0; device < HCS_WIRE_DEVICES_MAX; device++) {
        const struct hcs_ledger_device *account = &ledger.devices[device];
        uint64_t charged_bytes = cards[device].charged_bytes;
        assert(charged_bytes <= HCS_LEDGER_BYTES_MAX);
        assert(device < ledger.device_count || charged_bytes == 0);
        assert(account->charges[0].held_bytes == charged_bytes);
        assert(hcs_ledger_used_bytes(&ledger, device) == charged_bytes);
        assert(account->peak_bytes >= charged_bytes);
    }
}

int main(int argc, char **argv) {
    struct hcs_config config = {.device_count = 3};
    assert(argc == 3);
    state = strtoull(argv[1], NULL, 10);
    unsigned packets = (unsigned)atoi(argv[2]), believed = 0;
    for (unsigned i = 0; i < config.device_count; i++) {
        config.quota_bytes[i] = QUOTA_BYTES;
    }
    hcs_ledger_init(&ledger, &config, 1, 1);
    ledger.slots_used = 2;
    hcs_overhead_begin(&ledger, 0);
    for (unsigned i = 0; i < packets; i++) {
        unsigned words = cards[0].words + cards[1].words + cards[2].words;
        connection.fd = 0;
        any_packet();
        bool reclaim = listen_to_agent(&ledger, 0);
        believed += reclaim || cards[0].words + cards[1].words + cards[2].words != words;
        check();
    }
    printf("%u %u\n", packets, believed);
    return 0;
}
