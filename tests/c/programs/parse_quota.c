/* parse_quota QUOTA DEVICES -> "malformed", "off", or the quotas in force. "-" is "not set". */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../../../c/interceptor/config.h"

static const char *value(const char *text) { return strcmp(text, "-") == 0 ? NULL : text; }

int main(int argc, char **argv) {
    static struct hcs_config config;
    if (argc != 3) {
        return 2;
    }
    if (!hcs_config_parse_quota(value(argv[1]), value(argv[2]), &config)) {
        puts("malformed");
    } else if (!config.enforced) {
        puts("off");
    }
    for (unsigned i = 0; config.enforced && i < config.device_count; i++) {
        printf("%" PRIu64 "%c", config.quota_bytes[i], i + 1 < config.device_count ? ',' : '\n');
    }
    return 0;
}
