/* What a kill may leave behind, and that the survivors do without it. Built with sanitizers.
 *
 *   ledger_kills storm N   processes in a tight loop, N SIGKILLs at random moments
 *   ledger_kills pending   one killed between announcing and deciding
 *   ledger_kills moving    one killed between the two halves of a grant
 *   ledger_kills emptying  one killed while it emptied a dead one's slot
 *   ledger_kills withdrawn one that withdraws what it announced: no reason for a refusal
 *   ledger_kills stopped   one stopped between announcing and deciding: a refusal, not for ever
 */
#define _GNU_SOURCE
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* The source itself: to die inside of it, one has to get in. */
#include "../../../c/interceptor/ledger.c"

#define PROCESSES 8
#define QUOTA_BYTES 1000

static struct hcs_ledger *ledger;
static struct hcs_config config;

static unsigned join(void) {
    int slot = hcs_ledger_join(ledger, hcs_process_self());
    assert(slot >= 0);
    return (unsigned)slot;
}

static void die(void) { kill(getpid(), SIGKILL); }
static void stop(void) { kill(getpid(), SIGSTOP); }

/* Run in a process of its own until it is dead or stopped. */
static pid_t elsewhere(void (*half_done)(unsigned slot), void (*end)(void)) {
    pid_t child = fork();
    if (child == 0) {
        half_done(join());
        end();
    }
    waitpid(child, NULL, WUNTRACED);
    return child;
}

static void announce(unsigned slot) {
    add(&ledger->devices[0].charges[slot].pending_bytes, QUOTA_BYTES);
}

static void grant_by_half(unsigned slot) {
    announce(slot);
    add(&ledger->devices[0].charges[slot].held_bytes, QUOTA_BYTES);
}

static void empty_by_half(unsigned slot) {
    elsewhere(grant_by_half, die);
    unsigned dead = slot + 1;
    assert(exchange(&ledger->owners[dead], get(&ledger->owners[dead]), get(&ledger->owners[slot])));
    set(&ledger->devices[0].charges[dead].pending_bytes, 0);
}

static void after_death(void (*half_done)(unsigned slot)) {
    unsigned slot = join();
    elsewhere(half_done, die);
    assert(hcs_ledger_reserve(ledger, slot, 0, QUOTA_BYTES));
    assert(hcs_ledger_used_bytes(ledger, 0) == QUOTA_BYTES);
    assert(all_bytes(&ledger->devices[0], slots_used(ledger)) == QUOTA_BYTES);
    assert(ledger->devices[0].refusals == 0);
}

static void after_withdrawal(void) {
    struct timespec pause = {0, 20000000};
    uint64_t *announced = &ledger->padding[0]; /* a word that all processes see */
    unsigned slot = join();
    pid_t neighbour = fork();
    if (neighbour == 0) {
        unsigned own = join();
        announce(own);
        set(announced, 1);
        nanosleep(&pause, NULL);
        subtract(&ledger->devices[0].charges[own].pending_bytes, QUOTA_BYTES);
        pause.tv_sec = 2;
        nanosleep(&pause, NULL);
    }
    while (get(announced) == 0) {
    }
    assert(hcs_ledger_reserve(ledger, slot, 0, QUOTA_BYTES));
    kill(neighbour, SIGKILL);
    waitpid(neighbour, NULL, 0);
}

static void after_stop(void) {
    unsigned slot = join();
    pid_t neighbour = elsewhere(announce, stop);
    assert(!hcs_ledger_reserve(ledger, slot, 0, 1));
    kill(neighbour, SIGKILL);
    waitpid(neighbour, NULL, 0);
    assert(hcs_ledger_reserve(ledger, slot, 0, QUOTA_BYTES));
}

static pid_t start_looping(void) {
    pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    unsigned slot = join();
    for (;;) {
        if (hcs_ledger_reserve(ledger, slot, 0, 300)) {
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
    hcs_ledger_reclaim(ledger, join());
    assert(all_bytes(&ledger->devices[0], slots_used(ledger)) == 0);
    assert(ledger->devices[0].peak_bytes <= QUOTA_BYTES);
}

int main(int argc, char **argv) {
    ledger = mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(hcs_config_parse_quota("1000", NULL, &config));
    hcs_ledger_init(ledger, &config, 0, 1);
    assert(argc >= 2);
    if (strcmp(argv[1], "pending") == 0) {
        after_death(announce);
    } else if (strcmp(argv[1], "moving") == 0) {
        after_death(grant_by_half);
    } else if (strcmp(argv[1], "emptying") == 0) {
        after_death(empty_by_half);
    } else if (strcmp(argv[1], "withdrawn") == 0) {
        after_withdrawal();
    } else if (strcmp(argv[1], "stopped") == 0) {
        after_stop();
    } else {
        storm((unsigned)atoi(argv[2]));
    }
    return 0;
}
