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
    unsigned char known[HCS_CARDS_MAX]; /* 0: not looked up yet; 1: none; else 2 + position */
};

/* The position of a card; -1: unknown, or there is no quota at all. */
int hcs_cards_position(struct hcs_cards *cards, int number);

/* For `find`: the position that the entry of this place in a variable's list means, -1 when it
 * means none. Entries are numbers, or ids as in HCS_DEVICES. Without the variable: the number. */
int hcs_cards_listed(const char *variable, int number);

/* The same for a variable that counts the node's cards, not the container's, and which the webhook
 * itself sets: HCS_DEVICES is in the order of those numbers, so a list of all of them says by rank
 * which is which. (A program that leaves some out makes the rest move up.) */
int hcs_cards_ranked(const char *variable, int number);

/* The position of a card by its id, with or without the "GPU-" or "MIG-" in front; -1: not ours. */
int hcs_cards_named(const char *id, unsigned length);

#endif
