/* See runtime_cards.h. */
#include "runtime_cards.h"

#include <pthread.h>
#include <stdlib.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool loaded;
static struct hcs_sim_visible visible;
static __thread int chosen_plus_one;

void hcs_sim_cards_load(enum hcs_sim_vendor vendor, const char *container_variable,
                        const char *process_variable) {
    if (__atomic_load_n(&loaded, __ATOMIC_ACQUIRE)) {
        return;
    }
    pthread_mutex_lock(&mutex);
    /* The snapshot is never released: `visible` points into it as long as the process lives. */
    const struct hcs_sim_scenario *scenario = loaded ? NULL : hcs_sim_scenario_acquire();
    if (scenario != NULL) {
        hcs_sim_visible(scenario, vendor, getenv(container_variable), getenv(process_variable),
                        &visible);
    }
    __atomic_store_n(&loaded, true, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&mutex);
}

unsigned hcs_sim_cards_count(void) { return visible.count; }

const struct hcs_sim_device *hcs_sim_card(int number) {
    return number >= 0 && (unsigned)number < visible.count ? visible.devices[number] : NULL;
}

int hcs_sim_card_number_of(const void *card) {
    int number = (int)visible.count - 1;
    while (number >= 0 && visible.devices[number] != card) {
        number--;
    }
    return number;
}

void hcs_sim_card_choose(int number) { chosen_plus_one = number + 1; }

int hcs_sim_card_number(void) { return chosen_plus_one - 1; }

const struct hcs_sim_device *hcs_sim_card_chosen(void) {
    return hcs_sim_card(hcs_sim_card_number());
}
