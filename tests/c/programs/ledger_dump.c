/* Print a ledger file's numbers for card 0. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#include "../../../c/interceptor/ledger.h"

int main(int argc, char **argv) {
    int fd = argc == 2 ? open(argv[1], O_RDONLY) : -1;
    const struct hcs_ledger *ledger =
        fd >= 0 ? mmap(NULL, sizeof *ledger, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (ledger == MAP_FAILED) {
        return 1;
    }
    uint64_t slots = 0, used = 0, second = 0, pending = 0;
    for (unsigned i = 0; i < HCS_LEDGER_SLOTS_MAX; i++) {
        slots += ledger->owners[i] != 0;
        used += ledger->devices[0].charges[i].held_bytes;
        second += ledger->devices[1].charges[i].held_bytes;
        pending += ledger->devices[0].charges[i].pending_bytes;
    }
    const struct hcs_ledger_device *device = &ledger->devices[0];
    printf("{\"quota\": %" PRIu64 ", \"used\": %" PRIu64 ", \"peak\": %" PRIu64
           ", \"refusals\": %" PRIu64 ", \"pending\": %" PRIu64 ", \"slots\": %" PRIu64
           ", \"second\": %" PRIu64 "}\n",
           device->quota_bytes, used, device->peak_bytes, device->refusals, pending, slots, second);
    return 0;
}
