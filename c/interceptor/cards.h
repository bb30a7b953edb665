/* The process's number of a card -> the container's, which is its position in HCS_DEVICES.
 *
 * The variables that hide and reorder cards inside of a container (CUDA_VISIBLE_DEVICES and its
 * like) make them differ. Looked up once per card, when it is first used: by then the runtime has
 * read its variable, which programs also set by themselves before that.
 */
#ifndef HCS_CARDS_H
#define HCS_CARDS_H

#define HCS_CARDS_MAX 64 /* numbers we remember the place of; higher ones have no quota */

struct hcs_cards {
    int (*find)(int number);             /* the position, or -1 */
    unsigned char places[HCS_CARDS_MAX]; /* 1 + position; 0: not known */
};

/* The position of a card; -1: unknown, or there is no quota at all. Whoever takes memory of such a
 * card is not held to the quota (hcs_missed). */
int hcs_cards_look_up(struct hcs_cards *cards, int number);
static inline int hcs_cards_position(struct hcs_cards *cards, int number) {
    unsigned char place = 0;
    if ((unsigned)number < HCS_CARDS_MAX) {
        place = __atomic_load_n(&cards->places[number], __ATOMIC_RELAXED);
    }
    return place != 0 ? place - 1 : hcs_cards_look_up(cards, number);
}

/* For `find`: the position that the entry of this place in a variable's list means, -1 when it
 * means none. Entries are numbers, or ids as in HCS_DEVICES. Without the variable: the number.
 * A container's only card is meant by whatever is no place in HCS_DEVICES. */
int hcs_cards_listed(const char *variable, int number);

/* The same for a variable that counts the node's cards, not the container's: HCS_DEVICE_INDICES has
 * their numbers. Without it HCS_DEVICES is taken to be in their order, and the variable to list all
 * of them. */
int hcs_cards_ranked(const char *variable, int number);

/* The position of a card by its id, with or without the "GPU-" or "MIG-" in front; -1: not ours. */
int hcs_cards_named(const char *id, unsigned length);

#endif
