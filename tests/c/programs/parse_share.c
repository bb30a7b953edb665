/* parse_share QUOTA DEVICES SHARE -> "malformed", "off", or the percentages in force and whether
 * there is a quota. "-" is "not set". */
#include <stdio.h>
#include <string.h>

#include "../../../c/interceptor/config.h"

static const char *value(const char *text) { return strcmp(text, "-") == 0 ? NULL : text; }

int main(int argc, char **argv) {
    static struct hcs_config config;
    if (argc != 4) {
        return 2;
    }
    hcs_config_parse_quota(value(argv[1]), value(argv[2]), &config);
    if (!hcs_config_parse_share(value(argv[3]), value(argv[2]), &config)) {
        puts(config.compute_limited ? "malformed and in force" : "malformed");
    } else if (!config.compute_limited) {
        puts("off");
    }
    for (unsigned i = 0; config.compute_limited && i < config.device_count; i++) {
        printf("%u%c", config.share_percent[i], i + 1 < config.device_count ? ',' : '\n');
    }
    return 0;
}
