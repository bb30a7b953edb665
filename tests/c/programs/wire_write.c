/* Write the messages that stdin describes, as the interceptor would send them; wire_sample.c with
 * any content. One line each, words and numbers in the order of the fields:
 *
 *   hello LOST PID EPOCH PROCESS POD_UID CONTAINER COUNT (DEVICE_ID QUOTA)...
 *   usage LOST EPOCH REVISION LAUNCHES COUNT (USED PEAK REFUSALS)...
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../../../c/interceptor/wire.h"

static void write_hello(void) {
    struct hcs_wire_hello hello = {
        .header = {HCS_WIRE_MAGIC, HCS_WIRE_VERSION, HCS_WIRE_HELLO, sizeof hello, 0}};
    assert(scanf("%" SCNu32 "%" SCNd32 "%" SCNu64 "%" SCNu64 "%39s%63s%" SCNu32,
                 &hello.header.lost, &hello.pid, &hello.epoch_ns, &hello.process, hello.pod_uid,
                 hello.container, &hello.device_count) == 7);
    for (unsigned i = 0; i < hello.device_count; i++) {
        assert(scanf("%95s%" SCNu64, hello.device_ids[i], &hello.quota_bytes[i]) == 2);
    }
    fwrite(&hello, sizeof hello, 1, stdout);
}

static void write_usage(void) {
    struct hcs_wire_usage usage = {
        .header = {HCS_WIRE_MAGIC, HCS_WIRE_VERSION, HCS_WIRE_USAGE, sizeof usage, 0}};
    assert(scanf("%" SCNu32 "%" SCNu64 "%" SCNu64 "%" SCNu64 "%" SCNu32, &usage.header.lost,
                 &usage.epoch_ns, &usage.revision, &usage.launches, &usage.device_count) == 5);
    for (unsigned i = 0; i < usage.device_count; i++) {
        struct hcs_wire_device_usage *device = &usage.devices[i];
        assert(scanf("%" SCNu64 "%" SCNu64 "%" SCNu64, &device->used_bytes, &device->peak_bytes,
                     &device->refusals) == 3);
    }
    fwrite(&usage, sizeof usage, 1, stdout);
}

int main(void) {
    char type[8];
    while (scanf("%7s", type) == 1) {
        strcmp(type, "hello") == 0 ? write_hello() : write_usage();
    }
    return 0;
}
