/* What may happen to processes while they make a ledger, join one, or replace one that has other
 * quotas: the others neither wait for them nor get more than the quota together.
 *
 *   ledger_starts storm ROUNDS DIRECTORY    64 that start at once, 16 of them killed meanwhile
 *   ledger_starts killed STRIDE DIRECTORY   one killed at every system call, and behind every so
 *                                           many instructions
 *   ledger_starts stopped STRIDE DIRECTORY  one stopped there; it goes on when others have come
 *
 * With NO_TMPFILE as on file systems that know no files without a name.
 */
#define _GNU_SOURCE
#include <assert.h>
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

/* The source itself: its pauses are counted and take no time. */
static unsigned pauses;
#define nanosleep(pause, left) (void)((void)(pause), (void)(left), pauses++)
#ifdef NO_TMPFILE
#include <fcntl.h>
#undef O_TMPFILE
#define O_TMPFILE O_DIRECTORY
#endif
#include "../../../c/interceptor/ledger_file.c"
#undef nanosleep

#define PROCESSES 64
#define KILLS 16
#define QUOTA_BYTES 1000
#define PART_BYTES 100
#define MOST_BYTES 600 /* there is room for one of them */

static struct hcs_config config, other_config;

/* What a process says of itself; all see it. */
static struct said {
    uint64_t came, done; /* first the one, then the other */
    uint64_t self, slot, held_bytes, pauses;
} *said;

/* Become a process of the container and hold memory. */
static bool come(const struct hcs_config *own, uint64_t bytes, struct said *says) {
    unsigned slot;
    struct hcs_ledger *ledger = hcs_ledger_open(own, 1, &slot);
    __atomic_store_n(&says->came, 1, __ATOMIC_SEQ_CST);
    bool granted = ledger != NULL && hcs_ledger_reserve(ledger, slot, 0, bytes);
    *says = (struct said){1, 0, hcs_process_self(), slot, granted ? bytes : 0, pauses};
    __atomic_store_n(&says->done, 1, __ATOMIC_SEQ_CST);
    return ledger != NULL;
}

static void stay(void) {
    for (;;) {
        pause();
    }
}

/* Fork a process that does not outlive this one. */
static pid_t start(void) {
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    return pid;
}

static void wait_for(const struct said *says) {
    while (__atomic_load_n(&says->done, __ATOMIC_SEQ_CST) == 0) {
        sched_yield();
    }
}

static void end(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* Nobody but the living holds anything: what they left of the quota can be had, and no byte more.
 * Returns the ledger. */
static struct hcs_ledger *check_what_is_left(uint64_t held_bytes) {
    unsigned slot;
    struct hcs_ledger *ledger = hcs_ledger_open(&config, 1, &slot);
    assert(ledger != NULL && pauses == 0);
    assert(hcs_ledger_reserve(ledger, slot, 0, QUOTA_BYTES - held_bytes));
    assert(!hcs_ledger_reserve(ledger, slot, 0, 1));
    assert(hcs_ledger_used_bytes(ledger, 0) == QUOTA_BYTES);
    hcs_ledger_release(ledger, slot, 0, QUOTA_BYTES - held_bytes);
    assert(hcs_ledger_used_bytes(ledger, 0) == held_bytes);
    return ledger;
}

/* The ledger is the only file in its directory. */
static void check_directory(void) {
#ifndef NO_TMPFILE
    char path[HCS_PATH_BYTES];
    snprintf(path, sizeof path, "%s", config.ledger_path);
    *strrchr(path, '/') = '\0';
    DIR *directory = opendir(path);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        assert(*entry->d_name == '.' || strcmp(entry->d_name, "ledger") == 0);
    }
    closedir(directory);
#endif
}

static pid_t start_at(int shot[2], struct said *says) {
    pid_t pid = start();
    if (pid == 0) {
        char unused;
        close(shot[1]);
        assert(read(shot[0], &unused, 1) == 0); /* the other end is closed: now */
        assert(come(&config, PART_BYTES, says));
        stay();
    }
    return pid;
}

static uint64_t check_survivors(const pid_t *pids) {
    unsigned slot;
    uint64_t held_bytes = 0;
    for (unsigned i = 0; i < PROCESSES; i++) {
        if (pids[i] != 0) {
            wait_for(&said[i]);
            held_bytes += said[i].held_bytes;
        }
    }
    struct hcs_ledger *ledger = hcs_ledger_open(&config, 1, &slot);
    assert(ledger != NULL && held_bytes <= QUOTA_BYTES);
    for (unsigned i = 0; i < PROCESSES; i++) {
        /* All have a slot of their own, in the same ledger. */
        assert(pids[i] == 0 || ledger->owners[said[i].slot] == said[i].self);
        assert(said[i].pauses == 0);
    }
    unmap(ledger);
    return held_bytes;
}

static void storm_once(void) {
    pid_t pids[PROCESSES];
    int shot[2];
    assert(pipe(shot) == 0);
    unlink(config.ledger_path);
    memset(said, 0, PROCESSES * sizeof *said);
    for (unsigned i = 0; i < PROCESSES; i++) {
        pids[i] = start_at(shot, &said[i]);
    }
    close(shot[0]);
    close(shot[1]);
    for (unsigned i = 0; i < KILLS; i++) {
        struct timespec pause = {0, rand() % 300000};
        unsigned victim = (unsigned)rand() % PROCESSES;
        nanosleep(&pause, NULL);
        if (pids[victim] != 0) {
            end(pids[victim]);
            pids[victim] = 0;
        }
    }
    unmap(check_what_is_left(check_survivors(pids)));
    for (unsigned i = 0; i < PROCESSES; i++) {
        if (pids[i] != 0) {
            end(pids[i]);
        }
    }
    unmap(check_what_is_left(0));
    check_directory();
}

/* Where the one that is killed or stopped finds itself. */
enum scene { NO_LEDGER, A_LEDGER, OTHER_QUOTAS, SCENES };

static void prepare(enum scene scene) {
    unlink(config.ledger_path);
    memset(said, 0, PROCESSES * sizeof *said);
    if (scene != NO_LEDGER) {
        pid_t before = start();
        if (before == 0) {
            _exit(!come(scene == A_LEDGER ? &config : &other_config, MOST_BYTES, &said[0]));
        }
        int status;
        waitpid(before, &status, 0);
        assert(status == 0 && said[0].held_bytes == MOST_BYTES);
    }
}

/* How far one gets. */
struct moment {
    enum scene scene;
    int step; /* PTRACE_SYSCALL: before and behind a system call, or PTRACE_SINGLESTEP */
    unsigned steps;
};

/* Start one and hold it at a moment; 0: it was there before. */
static pid_t start_and_hold(const struct moment *moment) {
    int status;
    pid_t pid = start();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        assert(come(&config, MOST_BYTES, &said[1]));
        stay();
    }
    waitpid(pid, &status, 0);
    for (unsigned i = 0; i < moment->steps && said[1].came == 0; i++) {
        assert(WIFSTOPPED(status) && ptrace(moment->step, pid, NULL, NULL) == 0);
        waitpid(pid, &status, 0);
    }
    if (said[1].came != 0) {
        end(pid);
        return 0;
    }
    return pid;
}

static bool kill_at(const struct moment *moment) {
    prepare(moment->scene);
    pid_t victim = start_and_hold(moment);
    if (victim != 0) {
        end(victim);
        unmap(check_what_is_left(0));
        check_directory();
    }
    return victim != 0;
}

static pid_t start_neighbour(const struct hcs_config *own, struct said *says) {
    pid_t pid = start();
    if (pid == 0) {
        come(own, MOST_BYTES, says);
        stay();
    }
    wait_for(says);
    return pid;
}

/* Neighbours that were refused because the stopped one was just emptying a dead one's slot, and so
 * had its bytes. That takes some instructions of thousands, so few moments fall on them. */
#define KEPT_MAX 2
static unsigned kept;

/* Others come while it is stopped: one with the same quotas, or one after the other with different
 * ones, which may replace the ledger. */
static bool stop_at(const struct moment *moment, bool same_quotas) {
    const struct hcs_config *own = same_quotas ? &config : &other_config;
    prepare(moment->scene);
    pid_t stopped = start_and_hold(moment);
    if (stopped == 0) {
        return false;
    }
    if (!same_quotas) {
        end(start_neighbour(own, &said[2]));
    }
    pid_t neighbour = start_neighbour(own, &said[3]);
    /* Only who replaces a ledger is waited for, and not for ever. */
    assert(said[3].pauses == 0 || moment->scene == OTHER_QUOTAS);
    kept += said[3].held_bytes == 0 && said[3].pauses < OPEN_TRIES_MAX - OPEN_TRIES_AT_ONCE;
    assert(kept <= KEPT_MAX);
    ptrace(PTRACE_DETACH, stopped, NULL, NULL);
    wait_for(&said[1]);
    assert(said[1].held_bytes + said[3].held_bytes == MOST_BYTES); /* one of them got it */
    end(neighbour);
    end(stopped);
    return true;
}

/* Try all moments until it is there before. */
static void try_all(bool kills, enum scene scene, int step, unsigned stride) {
    struct moment moment = {scene, step, 0};
    while (kills ? kill_at(&moment) : stop_at(&moment, true) && stop_at(&moment, false)) {
        moment.steps += stride;
    }
    assert(moment.steps > 0);
}

int main(int argc, char **argv) {
    assert(argc == 4);
    unsigned count = (unsigned)atoi(argv[2]);
    alarm(120);
    said = mmap(NULL, PROCESSES * sizeof *said, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(hcs_config_parse_quota("1000", "a", &config));
    snprintf(config.ledger_path, sizeof config.ledger_path, "%s/ledger", argv[3]);
    other_config = config;
    other_config.quota_bytes[0] = QUOTA_BYTES - 1;
    if (strcmp(argv[1], "storm") == 0) {
        for (; count > 0; count--) {
            storm_once();
        }
        return 0;
    }
    bool kills = strcmp(argv[1], "killed") == 0;
    for (enum scene scene = 0; scene < SCENES; scene++) {
        try_all(kills, scene, PTRACE_SYSCALL, 1);
        try_all(kills, scene, PTRACE_SINGLESTEP, count);
    }
    return 0;
}
