/* What a kill may leave behind, and that the next one repairs it. Built with sanitizers.
 *
 *   ledger_kills storm N   processes in a tight loop, N SIGKILLs at random moments
 *   ledger_kills process   one killed between the two halves of a charge
 *   ledger_kills thread    a thread that ended there, while its process lives on
 */
#define _GNU_SOURCE
#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* The source itself: to die inside of it, one has to get in. */
#include "../../../c/interceptor/ledger.c"

#define PROCESSES 4
#define QUOTA_BYTES 1000

static struct hcs_ledger *ledger;
static struct hcs_config config;

static void check_sums(void) {
    uint64_t charged = 0;
    for (unsigned i = 0; i < HCS_LEDGER_SLOTS_MAX; i++) {
        charged += ledger->slots[i].charged_bytes[0];
    }
    assert(ledger->devices[0].used_bytes == charged);
    assert(ledger->devices[0].peak_bytes <= QUOTA_BYTES);
}

static void *charge_half(void *slot) {
    assert(lock(ledger));
    ((struct hcs_ledger_slot *)slot)->charged_bytes[0] += 600; /* and not yet `used_bytes` */
    return NULL;
}

static void killed_process(void) {
    struct hcs_ledger_slot *slot = hcs_ledger_join(ledger, &config, 1);
    pid_t victim = fork();
    if (victim == 0) {
        charge_half(hcs_ledger_join(ledger, &config, 1));
        kill(getpid(), SIGKILL);
    }
    waitpid(victim, NULL, 0);
    assert(hcs_ledger_reserve(ledger, slot, 0, QUOTA_BYTES) == HCS_GRANTED);
    check_sums();
}

static void ended_thread(void) {
    pthread_t thread;
    struct hcs_ledger_slot *slot = hcs_ledger_join(ledger, &config, 1);
    assert(pthread_create(&thread, NULL, charge_half, slot) == 0);
    assert(pthread_join(thread, NULL) == 0);
    assert(hcs_ledger_reserve(ledger, slot, 0, 500) == HCS_REFUSED);
    assert(hcs_ledger_reserve(ledger, slot, 0, 400) == HCS_GRANTED);
    check_sums();
}

static pid_t start_looping(void) {
    pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    struct hcs_ledger_slot *slot = hcs_ledger_join(ledger, &config, 1);
    assert(slot != NULL);
    for (;;) {
        if (hcs_ledger_reserve(ledger, slot, 0, 300) == HCS_GRANTED) {
            hcs_ledger_release(ledger, slot, 0, 300);
        }
    }
}

static void storm(unsigned kills) {
    pid_t children[PROCESSES];
    for (unsigned i = 0; i < PROCESSES; i++) {
        children[i] = start_looping();
    }
    for (unsigned i = 0; i < kills; i++) {
        struct timespec pause = {0, 200000 + rand() % 500000};
        nanosleep(&pause, NULL);
        pid_t *victim = &children[rand() % PROCESSES];
        kill(*victim, SIGKILL);
        waitpid(*victim, NULL, 0);
        *victim = start_looping();
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        kill(children[i], SIGKILL);
        waitpid(children[i], NULL, 0);
    }
    hcs_ledger_reclaim(ledger);
    check_sums();
    assert(ledger->devices[0].used_bytes == 0);
}

int main(int argc, char **argv) {
    ledger = mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(hcs_ledger_init(ledger, 0, 1));
    assert(hcs_config_parse_quota("1000", NULL, &config));
    assert(argc >= 2);
    if (strcmp(argv[1], "process") == 0) {
        killed_process();
    } else if (strcmp(argv[1], "thread") == 0) {
        ended_thread();
    } else {
        storm((unsigned)atoi(argv[2]));
    }
    return 0;
}
