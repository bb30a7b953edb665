/* Reads a scenario's text; see scenario.h. The format is that of Python's configparser:
 * `[section]`, `key = value`, one line each. Unknown sections and keys are skipped, so that the
 * format can grow. */
#include "scenario.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 512

enum section {
    SECTION_NONE,
    SECTION_NODE,
    SECTION_DEVICE,
    SECTION_LINK,
    SECTION_EVENT,
    SECTION_FAULT
};

/* In the order of the enumerations, which begin at 1; 0 stands for "none of them". */
static const char *const VENDORS[] = {"nvidia", "huawei", "hygon", "cambricon", "mthreads", NULL};
static const char *const LINK_TYPES[] = {"nvlink",   "nvswitch", "hccs", "xgmi",
                                         "mlu_link", "mtlink",   NULL};
static const char *const THROTTLES[] = {"power", "thermal", "hardware", "other", NULL};
static const char *const STATES[] = {"raised", "cleared", NULL};

struct parser {
    struct hcs_sim_scenario *out;
    enum section section;
    bool device_seen[HCS_SIM_DEVICES_MAX];
    struct hcs_sim_device *device;
    struct hcs_sim_link *link;
    struct hcs_sim_event *event;
    struct hcs_sim_fault *fault;
};

/* --- Values ---------------------------------------------------------------------------------- */

static int parse_u64(const char *text, uint64_t *value) {
    char *end;
    if (*text < '0' || *text > '9')
        return -1;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return errno || *end ? -1 : 0;
}

static int parse_unsigned(const char *text, unsigned *value) {
    uint64_t wide;
    if (parse_u64(text, &wide) || wide > UINT32_MAX)
        return -1;
    *value = (unsigned)wide;
    return 0;
}

static int parse_int(const char *text, int *value) {
    unsigned magnitude;
    bool negative = *text == '-';
    if (parse_unsigned(text + negative, &magnitude) || magnitude > INT32_MAX)
        return -1;
    *value = negative ? -(int)magnitude : (int)magnitude;
    return 0;
}

static int parse_bool(const char *text, bool *value) {
    unsigned number;
    if (parse_unsigned(text, &number) || number > 1)
        return -1;
    *value = number == 1;
    return 0;
}

static int parse_text(const char *text, char *value, size_t size) {
    size_t length = strlen(text);
    if (length >= size)
        return -1;
    memcpy(value, text, length + 1);
    return 0;
}

/* Store 1 in *value for the first of the words, and so on. */
static int parse_word(const char *text, const char *const *words, int *value) {
    for (int i = 0; words[i]; i++)
        if (!strcmp(text, words[i])) {
            *value = i + 1;
            return 0;
        }
    return -1;
}

static int parse_pci(const char *text, struct hcs_sim_device *device) {
    int used = 0;
    int fields = sscanf(text, "%8x:%2x:%2x.%1x%n", &device->pci_domain, &device->pci_bus,
                        &device->pci_device, &device->pci_function, &used);
    return fields == 4 && text[used] == '\0' ? 0 : -1;
}

/* A list of vendors with a blank between them. */
static int parse_vendors(const char *text, bool *down) {
    char words[HCS_SIM_TEXT_MAX];
    char *rest = NULL;
    if (parse_text(text, words, sizeof words))
        return -1;
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        int vendor;
        if (parse_word(word, VENDORS, &vendor))
            return -1;
        down[vendor] = true;
    }
    return 0;
}

/* --- Sections -------------------------------------------------------------------------------- */

static int begin_device(struct parser *parser, const char *rest) {
    unsigned number;
    if (parse_unsigned(rest, &number) || number >= HCS_SIM_DEVICES_MAX)
        return -1;
    if (parser->device_seen[number])
        return -1;
    parser->device_seen[number] = true;
    parser->section = SECTION_DEVICE;
    parser->device = &parser->out->devices[number];
    parser->device->number = number;
    parser->device->numa = -1;
    parser->device->present = true;
    parser->device->speed_percent = 100;
    parser->out->device_count++;
    return 0;
}

/* Split "A.B" at its first dot, in place; NULL when there is none. */
static char *split(char *text) {
    char *dot = strchr(text, '.');
    if (dot)
        *dot++ = '\0';
    return dot;
}

static int begin_link(struct parser *parser, char *rest) {
    struct hcs_sim_scenario *out = parser->out;
    char *second = split(rest);
    if (!second || out->link_count == HCS_SIM_LINKS_MAX)
        return -1;
    parser->section = SECTION_LINK;
    parser->link = &out->links[out->link_count++];
    parser->link->up = true;
    if (parse_unsigned(rest, &parser->link->a) || parse_unsigned(second, &parser->link->b))
        return -1;
    return parser->link->a < parser->link->b ? 0 : -1;
}

static int begin_event(struct parser *parser, const char *rest) {
    struct hcs_sim_scenario *out = parser->out;
    if (out->event_count == HCS_SIM_EVENTS_MAX)
        return -1;
    parser->section = SECTION_EVENT;
    parser->event = &out->events[out->event_count];
    if (parse_u64(rest, &parser->event->number))
        return -1;
    if (out->event_count && parser->event->number <= out->events[out->event_count - 1].number)
        return -1; /* the order of the file is the order of the events */
    out->event_count++;
    return 0;
}

static int begin_fault(struct parser *parser, char *rest) {
    struct hcs_sim_scenario *out = parser->out;
    char *code = split(rest);
    if (!code || out->fault_count == HCS_SIM_FAULTS_MAX)
        return -1;
    parser->section = SECTION_FAULT;
    parser->fault = &out->faults[out->fault_count++];
    parser->fault->count = 1;
    if (parse_unsigned(rest, &parser->fault->device))
        return -1;
    return parse_text(code, parser->fault->code, sizeof parser->fault->code);
}

static int begin_section(struct parser *parser, char *name) {
    char *rest = split(name);
    parser->section = SECTION_NONE;
    if (!rest) {
        if (!strcmp(name, "node"))
            parser->section = SECTION_NODE;
        return 0;
    }
    if (!strcmp(name, "device"))
        return begin_device(parser, rest);
    if (!strcmp(name, "link"))
        return begin_link(parser, rest);
    if (!strcmp(name, "event"))
        return begin_event(parser, rest);
    return strcmp(name, "fault") ? 0 : begin_fault(parser, rest);
}

/* --- Keys ------------------------------------------------------------------------------------ */

static int set_node(struct hcs_sim_scenario *out, const char *key, const char *value) {
    if (!strcmp(key, "name"))
        return parse_text(value, out->node, sizeof out->node);
    if (!strcmp(key, "generation"))
        return parse_u64(value, &out->generation);
    if (!strcmp(key, "nvidia_driver"))
        return parse_text(value, out->nvidia_driver, sizeof out->nvidia_driver);
    if (!strcmp(key, "ascend_driver"))
        return parse_text(value, out->ascend_driver, sizeof out->ascend_driver);
    if (!strcmp(key, "hygon_driver"))
        return parse_text(value, out->hygon_driver, sizeof out->hygon_driver);
    if (!strcmp(key, "cambricon_driver"))
        return parse_text(value, out->cambricon_driver, sizeof out->cambricon_driver);
    if (!strcmp(key, "mthreads_driver"))
        return parse_text(value, out->mthreads_driver, sizeof out->mthreads_driver);
    if (!strcmp(key, "rocm_smi_wide"))
        return parse_bool(value, &out->rocm_smi_wide);
    if (!strcmp(key, "drivers_down"))
        return parse_vendors(value, out->driver_down);
    return 0;
}

/* The device's keys whose value is simply stored. */
struct key {
    const char *name;
    int (*parse)(const char *text, void *field);
    size_t offset;
};

static int store_u64(const char *text, void *field) { return parse_u64(text, field); }
static int store_unsigned(const char *text, void *field) { return parse_unsigned(text, field); }
static int store_int(const char *text, void *field) { return parse_int(text, field); }
static int store_bool(const char *text, void *field) { return parse_bool(text, field); }
static int store_text(const char *text, void *field) {
    return parse_text(text, field, HCS_SIM_TEXT_MAX);
}

#define KEY(name, parse) {#name, parse, offsetof(struct hcs_sim_device, name)}
static const struct key DEVICE_KEYS[] = {
    KEY(model, store_text),
    KEY(id, store_text),
    KEY(serial, store_text),
    KEY(firmware, store_text),
    KEY(numa, store_int),
    KEY(vram_bytes, store_u64),
    KEY(memory_used_bytes, store_u64),
    KEY(context_bytes, store_u64),
    KEY(memory_bandwidth_gbytes_s, store_unsigned),
    KEY(temperature_c, store_int),
    KEY(memory_temperature_c, store_int),
    KEY(power_mw, store_unsigned),
    KEY(utilization_percent, store_unsigned),
    KEY(memory_utilization_percent, store_unsigned),
    KEY(core_clock_mhz, store_unsigned),
    KEY(core_clock_max_mhz, store_unsigned),
    KEY(memory_clock_mhz, store_unsigned),
    KEY(speed_percent, store_unsigned),
    KEY(ecc_corrected, store_u64),
    KEY(ecc_uncorrected, store_u64),
    KEY(pcie_replays, store_u64),
    KEY(link_errors, store_u64),
    KEY(pcie_generation, store_unsigned),
    KEY(pcie_generation_max, store_unsigned),
    KEY(pcie_width, store_unsigned),
    KEY(pcie_width_max, store_unsigned),
    KEY(present, store_bool),
    KEY(hangs, store_bool),
    KEY(recovery_action, store_unsigned),
};

static int set_device(struct hcs_sim_device *device, const char *key, const char *value) {
    int word = 0;
    if (!strcmp(key, "vendor")) {
        if (parse_word(value, VENDORS, &word))
            return -1;
        device->vendor = (enum hcs_sim_vendor)word;
        return 0;
    }
    if (!strcmp(key, "throttle")) {
        if (*value && parse_word(value, THROTTLES, &word))
            return -1;
        device->throttle = (enum hcs_sim_throttle)word;
        return 0;
    }
    if (!strcmp(key, "pci"))
        return parse_pci(value, device);
    for (size_t i = 0; i < sizeof DEVICE_KEYS / sizeof *DEVICE_KEYS; i++)
        if (!strcmp(key, DEVICE_KEYS[i].name))
            return DEVICE_KEYS[i].parse(value, (char *)device + DEVICE_KEYS[i].offset);
    return 0;
}

static int set_link(struct hcs_sim_link *link, const char *key, const char *value) {
    int word;
    if (!strcmp(key, "type")) {
        if (parse_word(value, LINK_TYPES, &word))
            return -1;
        link->type = (enum hcs_sim_link_type)word;
        return 0;
    }
    if (!strcmp(key, "lanes"))
        return parse_unsigned(value, &link->lanes);
    if (!strcmp(key, "up"))
        return parse_bool(value, &link->up);
    return 0;
}

static int set_event(struct hcs_sim_event *event, const char *key, const char *value) {
    int word;
    if (!strcmp(key, "device"))
        return parse_unsigned(value, &event->device);
    if (!strcmp(key, "code"))
        return parse_text(value, event->code, sizeof event->code);
    if (!strcmp(key, "state")) {
        if (parse_word(value, STATES, &word))
            return -1;
        event->raised = word == 1;
        return 0;
    }
    if (!strcmp(key, "at_ns")) {
        uint64_t at_ns;
        if (parse_u64(value, &at_ns) || at_ns > INT64_MAX)
            return -1;
        event->at_ns = (int64_t)at_ns;
    }
    return 0;
}

static int set_fault(struct hcs_sim_fault *fault, const char *key, const char *value) {
    return strcmp(key, "count") ? 0 : parse_u64(value, &fault->count);
}

static int set_key(struct parser *parser, const char *key, const char *value) {
    switch (parser->section) {
    case SECTION_NODE: return set_node(parser->out, key, value);
    case SECTION_DEVICE: return set_device(parser->device, key, value);
    case SECTION_LINK: return set_link(parser->link, key, value);
    case SECTION_EVENT: return set_event(parser->event, key, value);
    case SECTION_FAULT: return set_fault(parser->fault, key, value);
    case SECTION_NONE: return 0;
    }
    return -1;
}

/* --- Lines ----------------------------------------------------------------------------------- */

/* Cut white space from both ends, in place. */
static char *trim(char *text) {
    text += strspn(text, " \t\r");
    size_t length = strlen(text);
    while (length && strchr(" \t\r", text[length - 1]))
        text[--length] = '\0';
    return text;
}

static int parse_line(struct parser *parser, char *line) {
    line = trim(line);
    size_t length = strlen(line);
    if (!length || *line == '#' || *line == ';')
        return 0;
    if (*line == '[') {
        if (line[length - 1] != ']')
            return -1;
        line[length - 1] = '\0';
        return begin_section(parser, line + 1);
    }
    char *equals = strchr(line, '=');
    if (!equals)
        return -1;
    *equals = '\0';
    return set_key(parser, trim(line), trim(equals + 1));
}

/* What only the whole file can show. Devices are numbered without holes; all name real devices. */
static int check(const struct hcs_sim_scenario *out) {
    for (size_t i = 0; i < out->device_count; i++)
        if (out->devices[i].number != i || !out->devices[i].vendor || !out->devices[i].id[0])
            return -1;
    for (size_t i = 0; i < out->link_count; i++)
        if (out->links[i].b >= out->device_count || !out->links[i].type)
            return -1;
    for (size_t i = 0; i < out->event_count; i++)
        if (out->events[i].device >= out->device_count || !out->events[i].code[0])
            return -1;
    for (size_t i = 0; i < out->fault_count; i++)
        if (out->faults[i].device >= out->device_count || !out->faults[i].code[0])
            return -1;
    return 0;
}

int hcs_sim_scenario_parse(const char *text, size_t length, struct hcs_sim_scenario *out) {
    struct parser parser = {.out = out};
    const char *end = text + length;
    memset(out, 0, sizeof *out);
    while (text < end) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t size = (size_t)((stop ? stop : end) - text);
        char line[LINE_MAX_BYTES];
        if (size >= sizeof line || memchr(text, '\0', size))
            return -1;
        memcpy(line, text, size);
        line[size] = '\0';
        if (parse_line(&parser, line))
            return -1;
        text += size + 1;
    }
    for (size_t i = 0; i < out->device_count; i++)
        if (!out->devices[i].serial[0])
            memcpy(out->devices[i].serial, out->devices[i].id, sizeof out->devices[i].serial);
    return check(out);
}
