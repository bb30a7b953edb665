/* See report.h. */
#define _GNU_SOURCE
#include "report.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "account.h"
#include "config.h"
#include "connection.h"
#include "debug.h"
#include "ledger_file.h"
#include "old_libc.h"
#include "overhead.h"
#include "process.h"

#define TICK_MS 100          /* the bound on how often a process speaks */
#define LAUNCHES_TICKS 10    /* since the last message, before launches alone are told */
#define RECONNECT_TICKS 10   /* between two tries to find an agent */
#define RECONNECT_TICKS_MAX 80 /* and between two to stay with one that hangs up */
#define LASTING_TICKS 100    /* a connection that lived so long is forgiven its end */
#define LOOKS_MAX 60         /* for the neighbour that ended: after 1, 2, 4 … 100, 100 … ms */
#define STACK_BYTES (256 * 1024)
#define STACK_BYTES_LARGE (8 * 1024 * 1024) /* if that is too small */
#define EXIT_WAIT_NS 100000000 /* for a send in progress, before the exit goes on without us */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of the connection and `lost` */
static struct hcs_connection connection = {.fd = -1};
static uint32_t lost;
static uint32_t opened; /* connections */
static bool started;
static bool changed;
static bool ceased;
static uint32_t unlimited; /* a bit for each card */

struct hcs_report_launches hcs_report_launches;
__thread unsigned hcs_report_launches_now;

static uint64_t launches(void) {
    return __atomic_load_n(&hcs_report_launches.count, __ATOMIC_RELAXED);
}

static bool wanted(void) {
    const struct hcs_config *config = hcs_config();
    return !__atomic_load_n(&ceased, __ATOMIC_ACQUIRE) && config->enforced &&
           config->devices_named && *config->socket_path != '\0' && *config->pod_uid != '\0' &&
           *config->container != '\0';
}

void hcs_report_changed(void) {
    if (!__atomic_load_n(&changed, __ATOMIC_RELAXED)) {
        __atomic_store_n(&changed, true, __ATOMIC_RELEASE);
    }
}

void hcs_report_cease(void) { __atomic_store_n(&ceased, true, __ATOMIC_RELEASE); }

void hcs_report_unlimited(unsigned device) {
    if ((__atomic_fetch_or(&unlimited, 1u << device, __ATOMIC_RELAXED) >> device & 1) == 0) {
        hcs_report_changed();
    }
}

static struct hcs_wire_header header(enum hcs_wire_type type, uint32_t size) {
    return (struct hcs_wire_header){HCS_WIRE_MAGIC, HCS_WIRE_VERSION, (uint16_t)type, size, lost};
}

/* Say hello if the connection is new, then the state. With the mutex held. */
static enum hcs_sent say(bool is_new, const struct hcs_ledger *ledger) {
    const struct hcs_config *config = hcs_config();
    struct hcs_wire_hello hello = {.pid = getpid(), .device_count = config->device_count};
    struct hcs_wire_usage usage = {.unlimited = __atomic_load_n(&unlimited, __ATOMIC_RELAXED)};
    hcs_ledger_read(ledger, &usage, hello.quota_bytes);
    usage.epoch_ns = hcs_ledger_name();
    if (is_new) {
        hello.header = header(HCS_WIRE_HELLO, sizeof hello);
        hello.epoch_ns = usage.epoch_ns;
        hello.process = hcs_process_self();
        memcpy(hello.pod_uid, config->pod_uid, sizeof hello.pod_uid);
        memcpy(hello.container, config->container, sizeof hello.container);
        memcpy(hello.device_ids, config->device_ids, sizeof hello.device_ids);
        enum hcs_sent sent = hcs_connection_send(&connection, &hello, sizeof hello);
        if (sent != HCS_SENT) {
            return HCS_DISCONNECTED; /* a full socket at the first message is no agent */
        }
    }
    usage.header = header(HCS_WIRE_USAGE, sizeof usage);
    usage.launches = launches();
    return hcs_connection_send(&connection, &usage, sizeof usage);
}

/* Say the state, on a new connection if there is none; false: it remains to be said. */
static bool speak(const struct hcs_ledger *ledger) {
    bool is_new = connection.fd < 0;
    if (is_new && !hcs_connection_open(&connection, hcs_config()->socket_path)) {
        return false;
    }
    opened += is_new;
    enum hcs_sent sent = say(is_new, ledger);
    if (sent == HCS_SOCKET_FULL) {
        lost++;
    } else if (sent == HCS_DISCONNECTED) {
        hcs_connection_close(&connection);
    }
    return sent == HCS_SENT;
}

/* What the agent may say. */
union agent_message {
    struct hcs_wire_header header;
    struct hcs_wire_driver driver;
};

static bool is_a(const union agent_message *message, int bytes, enum hcs_wire_type type,
                 size_t size) {
    const struct hcs_wire_header *header = &message->header;
    return (size_t)bytes == size && header->magic == HCS_WIRE_MAGIC &&
           header->version == HCS_WIRE_VERSION && header->type == type && header->size == size;
}

/* Read what the agent says; true: it asks for a reclaim. */
static bool listen_to_agent(struct hcs_ledger *ledger, unsigned slot) {
    union agent_message message;
    bool reclaim = false;
    int bytes;
    while (connection.fd >= 0 &&
           (bytes = hcs_connection_receive(&connection, &message, sizeof message)) != 0) {
        if (bytes < 0) {
            hcs_connection_close(&connection);
        } else if (is_a(&message, bytes, HCS_WIRE_RECLAIM, sizeof message.header)) {
            reclaim = true;
        } else if (is_a(&message, bytes, HCS_WIRE_DRIVER, sizeof message.driver) &&
                   message.driver.epoch_ns == hcs_ledger_name() &&
                   hcs_overhead_heed(ledger, slot, &message.driver)) {
            hcs_report_changed();
        }
    }
    return reclaim;
}

struct pace {
    unsigned until_connect; /* ticks without a connection, before the next try */
    unsigned rest;          /* the same after the end of the next connection */
    unsigned lasted;        /* ticks of this connection */
    unsigned silent;        /* ticks since we spoke */
    uint64_t launches_told;
    unsigned looks; /* left, for the dead */
    unsigned look_in_ms;
};

/* Listen, and look for the dead if the agent asked for it. */
static void attend(struct pace *pace, struct hcs_ledger *ledger, unsigned slot) {
    if (listen_to_agent(ledger, slot)) {
        pace->looks = LOOKS_MAX;
        pace->look_in_ms = 1;
    } else if (pace->looks > 0) {
        pace->looks--;
        pace->look_in_ms = pace->look_in_ms * 2 < TICK_MS ? pace->look_in_ms * 2 : TICK_MS;
    }
    if (pace->looks > 0 && hcs_ledger_reclaim(ledger, slot) > 0) {
        pace->looks = 0;
        hcs_report_changed();
    }
}

/* To ask whether somebody listens costs a system call; to greet somebody who hangs up costs him
 * more, as there may be thousands of us. */
static void plan_next_try(struct pace *pace, bool was_opened) {
    if (was_opened) {
        unsigned doubled = 2 * pace->rest;
        pace->until_connect = pace->rest;
        pace->rest = doubled < RECONNECT_TICKS_MAX ? doubled : RECONNECT_TICKS_MAX;
        pace->lasted = 0;
    } else {
        pace->until_connect = RECONNECT_TICKS - 1;
        pace->rest = RECONNECT_TICKS; /* whoever hung up is gone */
    }
}

/* Whether there is something to say, with a connection or for a new one: a new agent must hear the
 * state also when nothing changed. */
static bool has_news(struct pace *pace, bool connected) {
    bool has_changed = __atomic_exchange_n(&changed, false, __ATOMIC_ACQ_REL);
    bool has_launched = ++pace->silent >= LAUNCHES_TICKS && launches() != pace->launches_told;
    return has_changed || has_launched || !connected;
}

static void tick(struct pace *pace, const struct hcs_ledger *ledger) {
    bool connected = connection.fd >= 0;
    uint32_t opened_before = opened;
    if (!connected && pace->until_connect > 0) {
        pace->until_connect--;
        return;
    }
    if (connected && ++pace->lasted == LASTING_TICKS) {
        pace->until_connect = pace->rest = RECONNECT_TICKS;
    }
    if (has_news(pace, connected)) {
        pace->silent = 0;
        pace->launches_told = launches();
        if (!speak(ledger)) {
            hcs_report_changed();
        }
    }
    if (!connected) {
        plan_next_try(pace, opened != opened_before);
    }
}

static int64_t monotonic_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Until the agent says something. Without a connection (-1) poll only sleeps. */
static void wait_for_agent(int fd, int64_t wait_ms) {
    struct pollfd agent = {.fd = fd, .events = POLLIN};
    poll(&agent, 1, (int)wait_ms);
}

static void hang_up(void) {
    pthread_mutex_lock(&mutex);
    hcs_connection_close(&connection);
    pthread_mutex_unlock(&mutex);
}

static void *report(void *unused) {
    struct pace pace = {.rest = RECONNECT_TICKS};
    int64_t tick_at_ms = 0;
    (void)unused;
    while (wanted()) {
        unsigned slot;
        struct hcs_ledger *ledger = hcs_account_ledger(&slot);
        int64_t now_ms = monotonic_ms();
        pthread_mutex_lock(&mutex);
        attend(&pace, ledger, slot);
        if (now_ms >= tick_at_ms) {
            tick(&pace, ledger);
            tick_at_ms = now_ms + TICK_MS;
        }
        int fd = connection.fd;
        pthread_mutex_unlock(&mutex);
        int64_t wait_ms = tick_at_ms - now_ms;
        bool looking = pace.looks > 0 && pace.look_in_ms < wait_ms;
        wait_for_agent(fd, looking ? pace.look_in_ms : wait_ms);
    }
    hang_up();
    return NULL;
}

void hcs_report_start(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    if (pthread_create == NULL || started || !wanted() || pthread_attr_init(&attributes) != 0) {
        return;
    }
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    /* A thread inherits its mask: no signal meant for the application may end up in ours. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    started = pthread_create(&thread, &attributes, report, NULL) == 0;
    if (!started) { /* thread-local variables lie on the stack, too: of some programs very many */
        pthread_attr_setstacksize(&attributes, STACK_BYTES_LARGE);
        started = pthread_create(&thread, &attributes, report, NULL) == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (started) {
        pthread_setname_np(thread, "hcs-report");
    } else {
        hcs_debug("no_reports", "no thread; usage is told at exit only");
    }
}

void hcs_report_forget(void) {
    pthread_mutex_init(&mutex, NULL);
    hcs_connection_close(&connection);
    started = false;
    changed = false;
    ceased = false;
    unlimited = 0;
    lost = 0;
    __atomic_store_n(&hcs_report_launches.count, 0, __ATOMIC_RELAXED);
}

/* The last state. Our library was loaded first, so it is among the last to be finished. */
__attribute__((destructor)) static void say_goodbye(void) {
    unsigned slot;
    const struct hcs_ledger *ledger = hcs_account_ledger(&slot);
    struct timespec deadline;
    if (ledger == NULL || !wanted()) {
        return;
    }
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_nsec += EXIT_WAIT_NS;
    deadline.tv_sec += deadline.tv_nsec / 1000000000;
    deadline.tv_nsec %= 1000000000;
    if (pthread_mutex_timedlock == NULL || pthread_mutex_timedlock(&mutex, &deadline) == 0) {
        speak(ledger);
        pthread_mutex_unlock(&mutex);
    }
}
