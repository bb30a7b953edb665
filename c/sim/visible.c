/* See visible.h. */
#define _GNU_SOURCE
#include "visible.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY_BYTES_MAX HCS_SIM_TEXT_MAX
#define LIST_BYTES_MAX (HCS_SIM_DEVICES_MAX * ENTRY_BYTES_MAX) /* longer lists name no card */

/* Copy the next comma-separated entry without blanks around it; return false at the end. */
static bool next_entry(const char **cursor, char entry[ENTRY_BYTES_MAX]) {
    if (*cursor == NULL) {
        return false;
    }
    const char *start = *cursor;
    const char *end = strchrnul(start, ',');
    *cursor = *end == ',' ? end + 1 : NULL;
    while (start < end && isspace((unsigned char)*start)) {
        start++;
    }
    while (end > start && isspace((unsigned char)end[-1])) {
        end--;
    }
    size_t length = (size_t)(end - start);
    length = length < ENTRY_BYTES_MAX ? length : ENTRY_BYTES_MAX - 1;
    memcpy(entry, start, length);
    entry[length] = '\0';
    return true;
}

/* Read "3", "0-3" or "Ascend910-3" as a closed range of numbers. */
static bool read_range(const char *entry, unsigned long *first, unsigned long *last) {
    const char *digits = entry;
    if (!isdigit((unsigned char)*entry)) {
        const char *dash = strrchr(entry, '-');
        digits = dash != NULL && dash != entry ? dash + 1 : "";
    }
    char *end;
    *first = *last = strtoul(digits, &end, 10);
    if (end != digits && *end == '-' && digits == entry && isdigit((unsigned char)end[1])) {
        *last = strtoul(end + 1, &end, 10);
    }
    return end != digits && *end == '\0' && isdigit((unsigned char)*digits);
}

/* CUDA takes any prefix of an id that has its type in front ("GPU-5ec"). */
static bool names_id(const struct hcs_sim_device *device, const char *entry) {
    return strncasecmp(entry, "GPU-", 4) == 0 &&
           strncasecmp(device->id, entry, strlen(entry)) == 0;
}

static bool names_device(const char *entry, const struct hcs_sim_device *device, unsigned index) {
    unsigned long first, last;
    if (names_id(device, entry) || strcmp(device->id, entry) == 0) {
        return true;
    }
    return read_range(entry, &first, &last) && first <= index && index <= last;
}

static bool in_list(const char *list, const struct hcs_sim_device *device, unsigned index) {
    char entry[ENTRY_BYTES_MAX];
    const char *cursor = list;
    while (next_entry(&cursor, entry)) {
        if (strcmp(entry, "all") == 0 || names_device(entry, device, index)) {
            return true;
        }
    }
    return false;
}

static void container_devices(const struct hcs_sim_scenario *scenario, enum hcs_sim_vendor vendor,
                              const char *list, struct hcs_sim_visible *out) {
    out->count = 0;
    for (unsigned index = 0; index < hcs_sim_device_count(scenario, vendor); index++) {
        const struct hcs_sim_device *device = hcs_sim_device_at(scenario, vendor, index);
        if (device->present && (list == NULL || in_list(list, device, index))) {
            out->devices[out->count++] = device;
        }
    }
}

static const struct hcs_sim_device *find(const struct hcs_sim_visible *from, const char *entry) {
    for (unsigned index = 0; index < from->count; index++) {
        if (names_device(entry, from->devices[index], index)) {
            return from->devices[index];
        }
    }
    return NULL;
}

static bool contains(const struct hcs_sim_visible *list, const struct hcs_sim_device *device) {
    for (unsigned index = 0; index < list->count; index++) {
        if (list->devices[index] == device) {
            return true;
        }
    }
    return false;
}

void hcs_sim_visible(const struct hcs_sim_scenario *scenario, enum hcs_sim_vendor vendor,
                     const char *container, const char *process, struct hcs_sim_visible *out) {
    container_devices(scenario, vendor, container, out);
    if (process == NULL || strlen(process) > LIST_BYTES_MAX) {
        return;
    }
    struct hcs_sim_visible chosen = {.count = 0};
    char entry[ENTRY_BYTES_MAX];
    const char *cursor = process;
    while (next_entry(&cursor, entry)) {
        const struct hcs_sim_device *device = find(out, entry);
        if (device == NULL) {
            break;
        }
        if (contains(&chosen, device)) {
            chosen.count = 0;
            break;
        }
        chosen.devices[chosen.count++] = device;
    }
    *out = chosen;
}
