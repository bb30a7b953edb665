/* See config.h. */
#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "debug.h"
#include "old_libc.h"

#define NO_QUOTA "70368744177664" /* HCS_LEDGER_BYTES_MAX: no card has that much */

static struct hcs_config config;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Digits only: strtoull alone would take blanks, signs and what overflows. At most 63 bits: what
 * the agent makes of it ends up in a database's signed column. */
static bool read_number(const char *text, size_t length, uint64_t *out) {
    uint64_t value = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned digit = (unsigned)(text[i] - '0');
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value) || value > INT64_MAX) {
            return false;
        }
    }
    *out = value;
    return length > 0;
}

static bool copy_text(char *target, size_t target_bytes, const char *text, size_t length) {
    if (length >= target_bytes) {
        return false;
    }
    memset(target, 0, target_bytes);
    memcpy(target, text, length);
    return true;
}

/* Return the number of ids, or -1 when one is empty or too long, or there are too many. */
static int read_devices(const char *list, struct hcs_config *out) {
    unsigned count = 0;
    for (const char *entry = list; entry != NULL; count++) {
        const char *end = strchrnul(entry, ',');
        if (end == entry || count == HCS_WIRE_DEVICES_MAX ||
            !copy_text(out->device_ids[count], HCS_WIRE_DEVICE_ID_BYTES, entry,
                       (size_t)(end - entry))) {
            return -1;
        }
        entry = *end == ',' ? end + 1 : NULL;
    }
    return (int)count;
}

/* Return how many numbers there are, or -1 when one is none or there are too many. */
static int read_numbers(const char *list, uint64_t out[HCS_WIRE_DEVICES_MAX]) {
    unsigned count = 0;
    for (const char *entry = list; entry != NULL; count++) {
        const char *end = strchrnul(entry, ',');
        if (count == HCS_WIRE_DEVICES_MAX ||
            !read_number(entry, (size_t)(end - entry), &out[count])) {
            return -1;
        }
        entry = *end == ',' ? end + 1 : NULL;
    }
    return (int)count;
}

bool hcs_config_parse_quota(const char *quota, const char *devices, struct hcs_config *out) {
    out->enforced = false;
    if (quota == NULL || *quota == '\0') {
        return true;
    }
    int quotas = read_numbers(quota, out->quota_bytes);
    out->devices_named = devices != NULL && *devices != '\0';
    int named = out->devices_named ? read_devices(devices, out) : 0;
    if (quotas < 0 || named < 0 || (named > 0 && quotas > 1 && quotas != named)) {
        return false;
    }
    /* One number stands for every card, also for those whose ids we were not told. */
    int count = named > 0 ? named : quotas > 1 ? quotas : HCS_WIRE_DEVICES_MAX;
    for (int i = quotas; quotas == 1 && i < count; i++) {
        out->quota_bytes[i] = out->quota_bytes[0];
    }
    out->device_count = (unsigned)count;
    out->enforced = true;
    return true;
}

/* Return the number of percentages, or -1 when one is not from 1 to 100 or there are too many. */
static int read_shares(const char *list, struct hcs_config *out) {
    unsigned count = 0;
    for (const char *entry = list; entry != NULL; count++) {
        const char *end = strchrnul(entry, ',');
        uint64_t percent;
        if (count == HCS_WIRE_DEVICES_MAX || !read_number(entry, (size_t)(end - entry), &percent) ||
            percent < 1 || percent > 100) {
            return -1;
        }
        out->share_percent[count] = (uint8_t)percent;
        out->compute_limited = out->compute_limited || percent < 100;
        entry = *end == ',' ? end + 1 : NULL;
    }
    return (int)count;
}

static bool read_share(const char *share, const char *devices, struct hcs_config *out) {
    int shares = read_shares(share, out);
    if (shares < 0 || (!out->enforced && !hcs_config_parse_quota(NO_QUOTA, devices, out)) ||
        (shares > 1 && out->devices_named && (unsigned)shares != out->device_count)) {
        return false;
    }
    for (int i = shares; i < HCS_WIRE_DEVICES_MAX; i++) {
        out->share_percent[i] = shares == 1 ? out->share_percent[0] : 100;
    }
    return true;
}

bool hcs_config_parse_share(const char *share, const char *devices, struct hcs_config *out) {
    bool enforced = out->enforced;
    out->compute_limited = false;
    if (share == NULL || *share == '\0') {
        return true;
    }
    bool understood = read_share(share, devices, out);
    out->compute_limited = out->compute_limited && understood;
    out->enforced = enforced || out->compute_limited;
    return understood;
}

static void read_text(const char *variable, char *target, size_t target_bytes) {
    const char *text = getenv(variable);
    if (text != NULL && !copy_text(target, target_bytes, text, strlen(text))) {
        hcs_debug("too_long", variable);
    }
}

static void read_indices(void) {
    const char *list = getenv("HCS_DEVICE_INDICES");
    bool given = list != NULL && *list != '\0';
    int count = given ? read_numbers(list, config.device_indices) : 0;
    config.index_count = count == (int)config.device_count ? config.device_count : 0;
    if (given && config.enforced && config.index_count == 0) {
        hcs_debug("no_indices", "HCS_DEVICE_INDICES must be as many numbers as HCS_DEVICES has"
                                " cards");
    }
}

static void read_environment(void) {
    int saved_errno = errno;
    if (!hcs_config_parse_quota(getenv("HCS_VRAM_QUOTA"), getenv("HCS_DEVICES"), &config)) {
        hcs_debug("no_enforcement", "HCS_VRAM_QUOTA and HCS_DEVICES must be lists of equal length,"
                                    " the first of decimal bytes or one such number");
    }
    if (!hcs_config_parse_share(getenv("HCS_COMPUTE_SHARE"), getenv("HCS_DEVICES"), &config)) {
        hcs_debug("no_compute_share", "HCS_COMPUTE_SHARE must be a percentage from 1 to 100, or as"
                                      " many as HCS_DEVICES has cards");
    }
    read_indices();
    read_text("HCS_POD_UID", config.pod_uid, sizeof config.pod_uid);
    read_text("HCS_CONTAINER", config.container, sizeof config.container);
    read_text("HCS_AGENT_SOCKET", config.socket_path, sizeof config.socket_path);
    read_text("HCS_LEDGER", config.ledger_path, sizeof config.ledger_path);
    errno = saved_errno;
}

const struct hcs_config *hcs_config(void) {
    hcs_once(&once, read_environment);
    return &config;
}

/* Read before the application can change its environment. */
__attribute__((constructor)) static void load(void) { hcs_config(); }
