/* See cards.h. */
#define _GNU_SOURCE
#include "cards.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config.h"
#include "seldom.h"

static HCS_SELDOM int look_up(struct hcs_cards *cards, int number) {
    int position = hcs_config()->enforced ? cards->find(number) : -1;
    position = position < HCS_WIRE_DEVICES_MAX ? position : -1;
    unsigned char known = position >= 0 ? (unsigned char)position + 2 : 1;
    __atomic_store_n(&cards->known[number], known, __ATOMIC_RELAXED);
    return position;
}

int hcs_cards_position(struct hcs_cards *cards, int number) {
    if (number < 0 || number >= HCS_CARDS_MAX) {
        return -1;
    }
    unsigned char known = __atomic_load_n(&cards->known[number], __ATOMIC_RELAXED);
    return known != 0 ? (int)known - 2 : look_up(cards, number);
}

static const char *without_type(const char *id) {
    bool typed = strncasecmp(id, "GPU-", 4) == 0 || strncasecmp(id, "MIG-", 4) == 0;
    return typed ? id + 4 : id;
}

int hcs_cards_named(const char *id, unsigned length) {
    const struct hcs_config *config = hcs_config();
    length -= (unsigned)(without_type(id) - id);
    id = without_type(id);
    for (unsigned i = 0; config->devices_named && i < config->device_count; i++) {
        const char *known = without_type(config->device_ids[i]);
        if (strlen(known) == length && strncasecmp(known, id, length) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static int read_entry(const char *entry) {
    char *end;
    unsigned length = (unsigned)(strchrnul(entry, ',') - entry);
    long number = strtol(entry, &end, 10);
    bool is_number = end != entry && end == entry + length;
    if (is_number) {
        return number >= 0 && number < HCS_CARDS_MAX ? (int)number : -1;
    }
    return hcs_cards_named(entry, length);
}

/* The entry of this place in a list, or NULL. */
static const char *entry_at(const char *list, int place) {
    const char *entry = place >= 0 ? list : NULL;
    for (; place > 0 && entry != NULL; place--) {
        entry = strchr(entry, ',');
        entry = entry != NULL ? entry + 1 : NULL;
    }
    return entry;
}

int hcs_cards_listed(const char *variable, int number) {
    const char *list = getenv(variable);
    if (list == NULL || *list == '\0') {
        return number;
    }
    const char *entry = entry_at(list, number);
    return entry != NULL ? read_entry(entry) : -1;
}

int hcs_cards_ranked(const char *variable, int number) {
    const char *list = getenv(variable);
    int own = hcs_cards_listed(variable, number), rank = 0;
    if (list == NULL || *list == '\0' || own < 0) {
        return own;
    }
    for (int place = 0; place < HCS_CARDS_MAX && entry_at(list, place) != NULL; place++) {
        rank += hcs_cards_listed(variable, place) < own;
    }
    return rank;
}
