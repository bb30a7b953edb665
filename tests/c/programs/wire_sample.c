/* Write one hello and one usage to stdout, as the interceptor would send them. */
#include <stdio.h>
#include <string.h>

#include "../../../c/interceptor/wire.h"

int main(void) {
    static struct hcs_wire_hello hello = {
        .header = {HCS_WIRE_MAGIC, HCS_WIRE_VERSION, HCS_WIRE_HELLO, sizeof hello, 7},
        .pid = 4711,
        .device_count = 2,
        .epoch_ns = 1234567890123456789ull,
        .process = 18446744073709551615ull,
    };
    strcpy(hello.pod_uid, "6f0f4f5e-35a7-5d36-9e0e-0b0c4b1a6a51");
    strcpy(hello.container, "trainer");
    strcpy(hello.device_ids[0], "GPU-first");
    strcpy(hello.device_ids[1], "GPU-second");
    hello.quota_bytes[0] = 1ull << 40;
    hello.quota_bytes[1] = 3;
    static struct hcs_wire_usage usage = {
        .header = {HCS_WIRE_MAGIC, HCS_WIRE_VERSION, HCS_WIRE_USAGE, sizeof usage, 9},
        .epoch_ns = 1234567890123456789ull,
        .revision = 42,
        .launches = 1ull << 50,
        .device_count = 2,
        .devices = {{1, 2, 3}, {4, 5, 6}},
    };
    fwrite(&hello, sizeof hello, 1, stdout);
    fwrite(&usage, sizeof usage, 1, stdout);
    return 0;
}
