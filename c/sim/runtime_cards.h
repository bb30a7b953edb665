/* The cards that one runtime shows to its process, and the one that each thread works on. */
#ifndef HCS_SIM_RUNTIME_CARDS_H
#define HCS_SIM_RUNTIME_CARDS_H

#include "visible.h"

#define HCS_EXPORT __attribute__((visibility("default")))

/* Look at the scenario once, through the vendor's visibility variables; repeated calls do nothing.
 * What is seen stays as it is as long as the process lives, as with the real runtimes. */
void hcs_sim_cards_load(enum hcs_sim_vendor vendor, const char *container_variable,
                        const char *process_variable);

unsigned hcs_sim_cards_count(void);

/* A card by the process's number, NULL: there is none. */
const struct hcs_sim_device *hcs_sim_card(int number);

/* The process's number of a card, -1: it is none. */
int hcs_sim_card_number_of(const void *card);

/* The thread's card; -1 and NULL before it chose one. */
void hcs_sim_card_choose(int number);
int hcs_sim_card_number(void);
const struct hcs_sim_device *hcs_sim_card_chosen(void);

#endif
