/* A fuzzer with a seed: what programs and files may put into the environment and into the ledger.
 * Built with sanitizers. Prints how many cases it tried and how many were accepted.
 *
 *   fuzz_interceptor environment SEED CASES        values of our variables, mutated
 *   fuzz_interceptor ledger SEED CASES DIRECTORY   ledger files: random, cut, of another version
 */
#define _GNU_SOURCE
#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The sources themselves: what they read once per process is read here in each case, and waiting
 * for a neighbour that never was takes no time. */
#define nanosleep(pause, left) (void)(pause)
#include "../../../c/interceptor/cards.h"
#include "../../../c/interceptor/config.c"
#include "../../../c/interceptor/ledger.c"
#include "../../../c/interceptor/ledger_file.c"
#undef nanosleep

void hcs_missed(void) {} /* account.h: nobody is in a hooked call here */

#define VALUE_BYTES 4096
#define CASES_PER_LEDGER 16 /* that change what the one before left */

static uint64_t state;

static uint32_t next(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

static uint32_t below(uint32_t limit) { return next() % limit; }

/* What is right, or nearly: the mutations begin here. */
static const char *const seeds[] = {
    "", "0", "1", "17179869184", "17179869184,8589934592", "9223372036854775807",
    "9223372036854775808", "18446744073709551616", "16Gi", "-1", "1,", ",1", "1,,1",
    "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17",
    "GPU-5ec0ffee-0000-4000-8000-000000000000",
    "GPU-5ec0ffee-0000-4000-8000-000000000000,MIG-5ec0ffee-0000-4000-8000-000000000001",
    "6f0f4f5e-35a7-5d36-9e0e-0b0c4b1a6a51", "trainer", "/run/hcs/quota.sock", "../../etc/passwd",
    "50", "100", "0,100", "101", "all", "none",
};
static const char *const pieces[] = {
    ",", ",,", "0", "9", "-", "+", " ", "\n", "\t", "%s%n", "GPU-", "MIG-", "/", "..", "\xff",
    "9223372036854775807", "9999999999999999999999", "1e9", "0x10", "Gi",
};

static void mutate(char *value) {
    size_t length = strlen(value);
    size_t place = below((uint32_t)length + 1);
    const char *piece = pieces[below(sizeof pieces / sizeof *pieces)];
    switch (below(7)) {
    case 0: /* any byte but the end */
        if (place < length) {
            value[place] = (char)(1 + below(255));
        }
        break;
    case 1: /* cut */
        value[place] = '\0';
        break;
    case 2: /* put in */
        if (length + strlen(piece) < VALUE_BYTES) {
            memmove(value + place + strlen(piece), value + place, length - place + 1);
            memcpy(value + place, piece, strlen(piece));
        }
        break;
    case 3: /* take out */
        if (place < length) {
            memmove(value + place, value + place + 1, length - place);
        }
        break;
    case 4: /* twice */
        if (2 * length + 1 < VALUE_BYTES) {
            value[length] = ',';
            memmove(value + length + 1, value, length);
            value[2 * length + 1] = '\0';
        }
        break;
    case 5: /* as long as a field, or one byte more or less */ {
        static const size_t lengths[] = {HCS_WIRE_POD_UID_BYTES, HCS_WIRE_CONTAINER_BYTES,
                                         HCS_WIRE_DEVICE_ID_BYTES, HCS_SOCKET_PATH_BYTES,
                                         HCS_PATH_BYTES};
        size_t wanted = lengths[below(5)] + below(3) - 1;
        memset(value, 'a', wanted);
        value[wanted] = '\0';
        break;
    }
    default: break; /* as it is */
    }
}

static void any_value(char *value) {
    strcpy(value, seeds[below(sizeof seeds / sizeof *seeds)]);
    for (unsigned i = below(5); i > 0; i--) {
        mutate(value);
    }
}

static void check_text(const char *text, size_t bytes) {
    assert(memchr(text, '\0', bytes) != NULL);
}

/* Whatever was read, what comes of it keeps to its bounds. */
static void check_config(void) {
    check_text(config.pod_uid, sizeof config.pod_uid);
    check_text(config.container, sizeof config.container);
    check_text(config.socket_path, sizeof config.socket_path);
    check_text(config.ledger_path, sizeof config.ledger_path);
    if (!config.enforced) {
        return;
    }
    assert(config.device_count >= 1 && config.device_count <= HCS_WIRE_DEVICES_MAX);
    for (unsigned i = 0; i < config.device_count; i++) {
        assert(config.quota_bytes[i] <= INT64_MAX);
        check_text(config.device_ids[i], sizeof config.device_ids[i]);
        assert(!config.devices_named || *config.device_ids[i] != '\0');
        assert(config.share_percent[i] <= 100);
    }
}

/* What the environment is for: names of files, and cards found by their ids and in lists. */
static void use_config(const char *value) {
    char name[HCS_PATH_BYTES];
    default_name(&config, name, sizeof name);
    assert(strchr(name, '/') == NULL && *name == 'h');
    int named = hcs_cards_named(value, (unsigned)strlen(value));
    assert(named >= -1 && named < HCS_WIRE_DEVICES_MAX);
    int place = (int)below(HCS_CARDS_MAX + 2) - 1;
    assert(hcs_cards_listed("CUDA_VISIBLE_DEVICES", place) < HCS_CARDS_MAX + 2);
    assert(hcs_cards_ranked("HIP_VISIBLE_DEVICES", place) < HCS_CARDS_MAX + 2);
}

static bool one_environment(unsigned unused) {
    static const char *const variables[] = {
        "HCS_VRAM_QUOTA", "HCS_DEVICES", "HCS_POD_UID", "HCS_CONTAINER", "HCS_AGENT_SOCKET",
        "HCS_LEDGER", "HCS_COMPUTE_SHARE", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
    };
    char value[VALUE_BYTES + 64];
    (void)unused;
    for (unsigned i = 0; i < sizeof variables / sizeof *variables; i++) {
        any_value(value);
        if (below(4) == 0) {
            unsetenv(variables[i]);
        } else {
            setenv(variables[i], value, 1);
        }
    }
    memset(&config, 0, sizeof config);
    read_environment();
    check_config();
    use_config(value);
    return config.enforced;
}

/* Change a ledger's file. The magic word is left alone mostly: behind it is where it hurts. */
static void spoil(int fd) {
    uint64_t word = (uint64_t)next() << 32 | next();
    off_t size = sizeof(struct hcs_ledger), place = (off_t)(below(size / 8) * 8);
    switch (below(8)) {
    case 0: assert(ftruncate(fd, below(2) ? (off_t)below(4096) : size + below(4096)) == 0); break;
    case 1: assert(pwrite(fd, &word, 8, 0) == 8); break; /* another version */
    case 2: /* the counts, two in a word */
        word = (uint64_t)below(HCS_LEDGER_SLOTS_MAX + 2) << 32 | below(HCS_WIRE_DEVICES_MAX + 2);
        place = offsetof(struct hcs_ledger, device_count);
        assert(pwrite(fd, &word, 8, place) == 8);
        break;
    case 3: /* owners: processes that never were */
        for (unsigned i = 0; i < 64; i++) {
            word = (uint64_t)next() << below(33);
            place = (off_t)(offsetof(struct hcs_ledger, owners) + 8 * below(HCS_LEDGER_SLOTS_MAX));
            assert(pwrite(fd, &word, 8, place) == 8);
        }
        break;
    default: assert(pwrite(fd, &word, below(8) + 1, place) > 0); break;
    }
}

/* Open it as a process does, and do what one does with it; not more is asked for than not to stray:
 * who may write the file may spoil the numbers. */
static bool use_ledger(void) {
    unsigned slot;
    struct hcs_ledger *ledger = hcs_ledger_open(&config, 1, &slot);
    if (ledger == NULL) {
        return false;
    }
    struct hcs_wire_usage usage;
    uint64_t quota_bytes[HCS_WIRE_DEVICES_MAX];
    assert(slot < HCS_LEDGER_SLOTS_MAX);
    for (unsigned card = 0; card < ledger->device_count && card < HCS_WIRE_DEVICES_MAX; card++) {
        if (hcs_ledger_reserve(ledger, slot, card, 4096)) {
            hcs_ledger_release(ledger, slot, card, 4096);
        }
    }
    hcs_ledger_reclaim(ledger, slot);
    hcs_ledger_read(ledger, &usage, quota_bytes);
    munmap(ledger, sizeof *ledger);
    return true;
}

static bool one_ledger(unsigned number) {
    static bool accepted;
    if (number % CASES_PER_LEDGER == 0 || !accepted) { /* a good one again */
        unlink(config.ledger_path);
        assert(use_ledger());
    }
    int fd = open(config.ledger_path, O_RDWR);
    spoil(fd);
    close(fd);
    return accepted = use_ledger();
}

int main(int argc, char **argv) {
    assert(argc >= 4);
    state = strtoull(argv[2], NULL, 10);
    unsigned cases = (unsigned)atoi(argv[3]), accepted = 0;
    bool of_ledgers = strcmp(argv[1], "ledger") == 0;
    clearenv();
    if (of_ledgers) {
        memset(&config, 0, sizeof config);
        assert(argc == 5 && hcs_config_parse_quota("1000000,2000000", NULL, &config));
        snprintf(config.ledger_path, sizeof config.ledger_path, "%s/ledger", argv[4]);
    }
    for (unsigned i = 0; i < cases; i++) {
        accepted += of_ledgers ? one_ledger(i) : one_environment(i);
    }
    if (of_ledgers) {
        unlink(config.ledger_path);
    }
    printf("%u %u\n", cases, accepted);
    return 0;
}
