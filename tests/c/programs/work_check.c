/* The account of busy time, by itself: moments are arguments here. Built with sanitizers. */
#define _GNU_SOURCE
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../c/interceptor/ledger.c"

#define QUANTUM_NS (UINT64_C(1) << HCS_LEDGER_QUANTUM_SHIFT)
#define START_NS (UINT64_C(1000) * 1000000000u)
#define PERCENT 25

static struct hcs_ledger *ledger;
static struct hcs_ledger_work *work;

static void begin(void) {
    memset(work, 0, sizeof *work);
    work->paid_until_ns = START_NS;
}

/* In quanta after the start; returns how many were counted. */
static uint64_t worked(uint64_t from, uint64_t until) {
    uint64_t before = work->busy_quanta;
    hcs_ledger_worked(ledger, 0, PERCENT, START_NS + from * QUANTUM_NS,
                      START_NS + until * QUANTUM_NS);
    return work->busy_quanta - before;
}

static void overlaps_count_once(void) {
    begin();
    assert(worked(10, 50) == 40);
    assert(worked(10, 50) == 0);
    assert(worked(0, 20) == 10);   /* told late, begun earlier */
    assert(worked(40, 100) == 50); /* over the ends of words */
    assert(worked(0, 100) == 0);
    assert(worked(200, 200) == 0);
    assert(work->busy_quanta == 100);
}

static void small_ones_even_out(void) {
    begin();
    for (unsigned i = 0; i < 1000; i++) { /* a tenth of a quantum each, one after the other */
        hcs_ledger_worked(ledger, 0, PERCENT, START_NS + i * QUANTUM_NS / 10,
                          START_NS + (i + 1) * QUANTUM_NS / 10);
    }
    assert(work->busy_quanta == 100);
}

/* Against a plain array, at random. */
static void agrees_with_an_array(void) {
    static bool busy[4000];
    uint64_t expected = 0;
    begin();
    for (unsigned round = 0; round < 2000; round++) {
        unsigned from = (unsigned)rand() % 3900, until = from + (unsigned)rand() % 100;
        for (unsigned i = from; i < until; i++) {
            expected += !busy[i];
            busy[i] = true;
        }
        worked(from, until);
        assert(work->busy_quanta == expected);
    }
}

static void long_ones_are_whole(void) {
    begin();
    assert(worked(0, 1000000) == 1000000);
    assert(worked(1000000, 1000010) == 10);
}

static void what_is_long_past_counts_whole(void) {
    begin();
    worked(100000, 100010);
    assert(worked(10, 20) == 10);
}

static void debt_is_carried_and_credit_bounded(void) {
    uint64_t used_ns = 1000 * QUANTUM_NS;
    begin();
    worked(0, 1000);
    uint64_t end_ns = START_NS + used_ns;
    assert(hcs_ledger_debt_ns(ledger, 0, end_ns) == 3 * used_ns); /* at a quarter */
    assert(hcs_ledger_debt_ns(ledger, 0, end_ns + 3 * used_ns) == 0);
    /* An hour later the hour does not count. */
    uint64_t later = 3600u * UINT64_C(1000000000) / QUANTUM_NS;
    worked(later, later + 1000);
    end_ns = START_NS + (later + 1000) * QUANTUM_NS;
    uint64_t debt_ns = hcs_ledger_debt_ns(ledger, 0, end_ns);
    assert(debt_ns == 4 * used_ns - HCS_LEDGER_CREDIT_NS);
}

static void what_cannot_be_is_not_believed(void) {
    begin();
    work->paid_until_ns = UINT64_MAX;
    assert(hcs_ledger_debt_ns(ledger, 0, START_NS) == 0);
    worked(0, 8);
    assert(hcs_ledger_debt_ns(ledger, 0, START_NS) < HCS_LEDGER_DEBT_NS_MAX);
    memset(work->timeline, 0xff, sizeof work->timeline);
    assert(worked(1000, 1010) <= 10);
}

/* Two processes count the same stretch: each quantum once, whoever was first. */
static void processes_count_once(void) {
    begin();
    for (unsigned child = 0; child < 4; child++) {
        if (fork() == 0) {
            for (unsigned i = 0; i < 5000; i += 7) {
                worked(i, i + 10);
            }
            _exit(0);
        }
    }
    while (wait(NULL) > 0) {
    }
    assert(work->busy_quanta == 5008);
}

int main(void) {
    ledger = mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    work = &ledger->devices[0].work;
    hcs_ledger_init(ledger, &(struct hcs_config){.device_count = 1}, 0, 1);
    overlaps_count_once();
    small_ones_even_out();
    agrees_with_an_array();
    long_ones_are_whole();
    what_is_long_past_counts_whole();
    debt_is_carried_and_credit_bounded();
    what_cannot_be_is_not_believed();
    processes_count_once();
    return 0;
}
