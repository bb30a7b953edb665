/* Write one hello and one usage to stdout, as the interceptor would send them, and what it would
 * understand of the agent. */
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
        .unlimited = 2,
        .devices = {{1, 2, 3}, {4, 5, 6}},
    };
    fwrite(&hello, sizeof hello, 1, stdout);
    fwrite(&usage, sizeof usage, 1, stdout);
    static struct hcs_wire_driver driver = {
        .header = {HCS_WIRE_MAGIC, HCS_WIRE_VERSION, HCS_WIRE_DRIVER, sizeof driver, 0},
        .epoch_ns = 1234567890123456789ull,
        .looked_at_ns = 43,
        .device_count = 3,
        .used_bytes = {1ull << 40, HCS_WIRE_NOT_TOLD, 7},
    };
    for (unsigned i = driver.device_count; i < HCS_WIRE_DEVICES_MAX; i++) {
        driver.used_bytes[i] = HCS_WIRE_NOT_TOLD;
    }
    fwrite(&driver, sizeof driver, 1, stdout);
    return 0;
}
