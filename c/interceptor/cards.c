/* See cards.h. */
#define _GNU_SOURCE
#include "cards.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "account.h"
#include "config.h"
#include "seldom.h"

HCS_SELDOM int hcs_cards_look_up(struct hcs_cards *cards, int number) {
    if (number < 0 || number >= HCS_CARDS_MAX) {
        return -1;
    }
    int position = hcs_config()->enforced ? cards->find(number) : -1;
    if (position >= 0 && position < HCS_WIRE_DEVICES_MAX) {
        __atomic_store_n(&cards->places[number], position + 1, __ATOMIC_RELAXED);
        return position;
    }
    hcs_missed(); /* it may be one of ours all the same */
    return -1;
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

/* The entry of this place in a list, without the blanks around it, or NULL. */
static const char *entry_at(const char *list, int place, unsigned *length) {
    const char *entry = place >= 0 ? list : NULL;
    for (; place > 0 && entry != NULL; place--) {
        entry = strchr(entry, ',');
        entry = entry != NULL ? entry + 1 : NULL;
    }
    if (entry != NULL) {
        entry += strspn(entry, " \t");
        *length = (unsigned)strcspn(entry, ", \t");
    }
    return entry;
}

/* The number that stands there; -1: something else. */
static int number_at(const char *list, int place) {
    unsigned length = 0;
    const char *entry = entry_at(list, place, &length);
    char *end;
    long number = entry != NULL ? strtol(entry, &end, 10) : -1;
    bool is_number = entry != NULL && length > 0 && end == entry + length;
    return is_number && number >= 0 && number < HCS_CARDS_MAX ? (int)number : -1;
}

/* The card whose id stands there; -1: none of ours. */
static int named_at(const char *list, int place) {
    unsigned length = 0;
    const char *entry = entry_at(list, place, &length);
    return entry != NULL ? hcs_cards_named(entry, length) : -1;
}

/* The runtime has the card, whatever is in the variable: a program may set that after the runtime
 * has read it, for those that it starts. So the only one must be the one. */
static int placed(int position) {
    int count = (int)hcs_config()->device_count;
    if (position >= 0 && position < count) {
        return position;
    }
    return count == 1 ? 0 : -1;
}

int hcs_cards_listed(const char *variable, int number) {
    const char *list = getenv(variable);
    if (list == NULL || *list == '\0') {
        return number;
    }
    int named = named_at(list, number);
    return placed(named >= 0 ? named : number_at(list, number));
}

/* By the order of all numbers in the list; one that is none ends it. */
static int rank_of(const char *list, int number) {
    int rank = 0, other;
    for (int place = 0; place < HCS_CARDS_MAX && (other = number_at(list, place)) >= 0; place++) {
        rank += other < number;
    }
    return rank;
}

static int place_of(int number) {
    const struct hcs_config *config = hcs_config();
    for (unsigned i = 0; i < config->index_count; i++) {
        if (config->device_indices[i] == (uint64_t)number) {
            return (int)i;
        }
    }
    return -1;
}

int hcs_cards_ranked(const char *variable, int number) {
    const char *list = getenv(variable);
    if (list == NULL || *list == '\0') {
        return number;
    }
    int named = named_at(list, number), own = number_at(list, number);
    if (named >= 0 || own < 0) {
        return placed(named);
    }
    return placed(hcs_config()->index_count > 0 ? place_of(own) : rank_of(list, own));
}
