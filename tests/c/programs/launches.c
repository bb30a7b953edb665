/* A user's program that launches kernels, remote-controlled as commands.c is:
 *
 *   begin, device NUMBER, kind NAME     as there; the kind is how the next ones launch
 *   launch BLOCKS COUNT  -> "RESULT"    so many kernels of so many blocks, without waiting for them
 *   finish               -> "RESULT"    wait for all of them
 *   run BLOCKS MS        -> "RESULT COUNT"   launch for so long, never waiting, and finish
 *   spread BLOCKS MS     -> "RESULT COUNT"   the same from a new thread each time, with new streams
 *   rare BLOCKS MS       -> "RESULT COUNT"   one at a time, with pauses of 10 ms between them
 *   capture BLOCKS COUNT -> "RESULT"    make a graph of so many kernels, while another thread
 *                                       launches one
 *   reset                -> "RESULT"    the card's context ends and begins anew
 *   errno BLOCKS         -> "ERRNO"     sets it to 77 first and launches in between
 *   alarms BLOCKS MS     -> "RESULT ALARMS"  as run, with a signal every 5 ms
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

struct kind {
    const char *name;
    int (*launch)(unsigned blocks);
};

/* What the kinds launch into, by default and by name, and the graph. */
static void *stream, *executable;
#include "functions.h"

static const struct kind *kind = kinds;
static volatile sig_atomic_t alarms;

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int launch(unsigned blocks, unsigned count) {
    int result = 0;
    for (; count > 0 && result == 0; count--) {
        result = kind->launch(blocks);
    }
    return result;
}

static int run(unsigned blocks, unsigned ms, unsigned *count) {
    int result = 0;
    for (uint64_t end_ms = now_ms() + ms; result == 0 && now_ms() < end_ms; ++*count) {
        result = kind->launch(blocks);
    }
    return result != 0 ? result : finish();
}

static int rarely(unsigned blocks, unsigned ms, unsigned *count) {
    int result = 0;
    for (uint64_t end_ms = now_ms() + ms; result == 0 && now_ms() < end_ms; ++*count) {
        struct timespec pause = {0, 10000000};
        result = kind->launch(blocks);
        nanosleep(&pause, NULL);
    }
    return result;
}

static unsigned blocks_of_thread;
static int result_of_thread;

static void *launch_in_thread(void *unused) {
    (void)unused;
    void *own = NULL;
    result_of_thread = use_device(0) || new_stream(&own);
    stream = own;
    result_of_thread = result_of_thread || kind->launch(blocks_of_thread);
    result_of_thread = result_of_thread || drop_stream(own); /* with work left to do */
    return NULL;
}

static int spread(unsigned blocks, unsigned ms, unsigned *count) {
    void *before = stream;
    blocks_of_thread = blocks;
    result_of_thread = 0;
    for (uint64_t end_ms = now_ms() + ms; result_of_thread == 0 && now_ms() < end_ms; ++*count) {
        pthread_t thread;
        pthread_create(&thread, NULL, launch_in_thread, NULL);
        pthread_join(thread, NULL);
    }
    stream = before;
    return result_of_thread != 0 ? result_of_thread : finish();
}

static int capture(unsigned blocks, unsigned count) {
    pthread_t thread;
    void *captured = stream;
    int result = begin_capture(captured);
    for (unsigned i = 0; result == 0 && i < count; i++) {
        result = in_stream(blocks);
    }
    blocks_of_thread = 1;
    pthread_create(&thread, NULL, launch_in_thread, NULL);
    pthread_join(thread, NULL);
    stream = captured;
    result = result != 0 ? result : result_of_thread;
    return result != 0 ? result : end_capture(captured, &executable);
}

static void on_alarm(int unused) {
    (void)unused;
    alarms++;
}

static int run_with_alarms(unsigned blocks, unsigned ms) {
    struct itimerval every = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};
    struct sigaction action = {.sa_handler = on_alarm};
    unsigned count = 0;
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    int result = run(blocks, ms, &count);
    setitimer(ITIMER_REAL, &never, NULL);
    return result;
}

static void choose(const char *name) {
    for (kind = kinds; kind->name != NULL && strcmp(kind->name, name) != 0;) {
        kind++;
    }
    if (kind->name == NULL) {
        exit(2);
    }
    puts("0");
}

static void obey(const char *command, const char *text, unsigned second) {
    unsigned first = (unsigned)strtoul(text, NULL, 10), count = 0;
    int result;
    if (strcmp(command, "begin") == 0) {
        printf("%d\n", begin());
    } else if (strcmp(command, "device") == 0) {
        result = use_device((int)first);
        printf("%d\n", result != 0 ? result : new_stream(&stream));
    } else if (strcmp(command, "kind") == 0) {
        choose(text);
    } else if (strcmp(command, "launch") == 0) {
        printf("%d\n", launch(first, second));
    } else if (strcmp(command, "finish") == 0) {
        printf("%d\n", finish());
    } else if (strcmp(command, "run") == 0) {
        result = run(first, second, &count);
        printf("%d %u\n", result, count);
    } else if (strcmp(command, "rare") == 0) {
        result = rarely(first, second, &count);
        printf("%d %u\n", result, count);
    } else if (strcmp(command, "spread") == 0) {
        result = spread(first, second, &count);
        printf("%d %u\n", result, count);
    } else if (strcmp(command, "capture") == 0) {
        printf("%d\n", capture(first, second));
    } else if (strcmp(command, "reset") == 0) {
        printf("%d\n", reset());
    } else if (strcmp(command, "alarms") == 0) {
        result = run_with_alarms(first, second);
        printf("%d %d\n", result, (int)alarms);
    } else if (strcmp(command, "errno") == 0) {
        errno = 77;
        launch(first, 100);
        printf("%d\n", errno);
    } else {
        exit(2);
    }
}

int main(void) {
    char command[16], text[32], line[64];
    find_functions();
    setvbuf(stdin, NULL, _IONBF, 0);
    while (fgets(line, sizeof line, stdin) != NULL) {
        unsigned second = 0;
        strcpy(text, "0");
        if (sscanf(line, "%15s %31s %u", command, text, &second) >= 1) {
            obey(command, text, second);
            fflush(stdout);
        }
    }
    return 0;
}
