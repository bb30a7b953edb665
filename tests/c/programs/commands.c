/* A user's program, remote-controlled: reads commands from stdin, answers each with one line.
 *
 *   kind NAME      -> "0"                 which functions the next ones use; the first at the start
 *   alloc BYTES    -> "RESULT NUMBER"     the block's number is for `free`
 *   free NUMBER    -> "RESULT"
 *   elsewhere CARD -> "RESULT"            free the last block in another thread, on that card
 *   drop           -> "0"                 free all
 *   fill BYTES     -> "RESULT COUNT"      allocate until refused
 *   churn BYTES    -> "COUNT REFUSALS"    allocate up to so many and free, at random, until the
 *                                         next command has come
 *   stop           -> "0"                 nothing: such a next command
 *   info           -> "RESULT FREE TOTAL"
 *   total DEVICE   -> "RESULT BYTES"
 *   device NUMBER  -> "RESULT"
 *   extra NAME     -> "RESULT"            one of the runtime's own, see its header
 *   fork           -> "0"                 the child goes on, the parent waits for it
 *   exec           -> "0"                 the same program again, from the beginning
 *   errno          -> "ERRNO"             sets it to 77 first and allocates and frees in between
 *
 * Compiled once per runtime and way to its functions (functions.h).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCKS_MAX 100000

struct kind {
    const char *name;
    int (*allocate)(uint64_t *block, size_t bytes);
    int (*release)(uint64_t block);
};
struct extra {
    const char *name;
    int (*act)(void);
};

#define POINTER(block) ((void *)(uintptr_t)(block))
#include "functions.h"

static uint64_t blocks[BLOCKS_MAX];
static size_t block_count;
static const struct kind *kind = kinds;

static int fill(size_t bytes, size_t *count) {
    int result = 0;
    for (*count = 0; result == 0 && block_count < BLOCKS_MAX; *count += result == 0) {
        result = kind->allocate(&blocks[block_count], bytes);
        block_count += result == 0;
    }
    return result;
}

/* Frees what it got itself: that it cannot is the end. */
static void let_go(size_t number) {
    if (kind->release(blocks[number]) != 0) {
        exit(3);
    }
    blocks[number] = blocks[--block_count];
}

static void churn(size_t bytes_max, size_t *count, size_t *refusals) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    srandom((unsigned)getpid());
    while (poll(&input, 1, 0) == 0) {
        if (block_count > 0 && (random() % 3 == 0 || block_count == BLOCKS_MAX)) {
            let_go((size_t)random() % block_count);
        } else if (kind->allocate(&blocks[block_count], 1 + (size_t)random() % bytes_max) == 0) {
            block_count++;
            ++*count;
        } else {
            ++*refusals;
        }
    }
}

static void *free_last(void *card) {
    intptr_t result = use_device((int)(intptr_t)card);
    return (void *)(result != 0 ? result : kind->release(blocks[block_count - 1]));
}

static int free_elsewhere(size_t card) {
    pthread_t thread;
    void *result = NULL;
    if (pthread_create(&thread, NULL, free_last, (void *)card) != 0) {
        exit(3);
    }
    pthread_join(thread, &result);
    block_count -= result == NULL;
    return (int)(intptr_t)result;
}

static int keeps_errno(void) {
    uint64_t block;
    errno = 77;
    if (kind->allocate(&block, 1 << 20) == 0) {
        kind->release(block);
    }
    return errno;
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

static void do_extra(const char *name) {
    for (const struct extra *extra = extras; extra->name != NULL; extra++) {
        if (strcmp(extra->name, name) == 0) {
            printf("%d\n", extra->act());
            return;
        }
    }
    exit(2);
}

static void obey(const char *command, const char *text) {
    size_t argument = strtoull(text, NULL, 10), a = 0, b = 0;
    int result;
    if (strcmp(command, "alloc") == 0) {
        result = kind->allocate(&blocks[block_count], argument);
        printf("%d %zu\n", result, block_count);
        block_count += result == 0;
    } else if (strcmp(command, "free") == 0) {
        printf("%d\n", kind->release(blocks[argument]));
    } else if (strcmp(command, "fill") == 0) {
        result = fill(argument, &a);
        printf("%d %zu\n", result, a);
    } else if (strcmp(command, "churn") == 0) {
        churn(argument, &a, &b);
        printf("%zu %zu\n", a, b);
    } else if (strcmp(command, "stop") == 0) {
        puts("0");
    } else if (strcmp(command, "drop") == 0) {
        while (block_count > 0) {
            let_go(block_count - 1);
        }
        puts("0");
    } else if (strcmp(command, "elsewhere") == 0) {
        printf("%d\n", free_elsewhere(argument));
    } else if (strcmp(command, "info") == 0) {
        result = info(&a, &b);
        printf("%d %zu %zu\n", result, a, b);
    } else if (strcmp(command, "total") == 0) {
        result = total_of(&a, (int)argument);
        printf("%d %zu\n", result, a);
    } else if (strcmp(command, "device") == 0) {
        printf("%d\n", use_device((int)argument));
    } else if (strcmp(command, "errno") == 0) {
        printf("%d\n", keeps_errno());
    } else if (strcmp(command, "begin") == 0) {
        printf("%d\n", begin());
    } else if (strcmp(command, "kind") == 0) {
        choose(text);
    } else if (strcmp(command, "extra") == 0) {
        do_extra(text);
    } else if (strcmp(command, "environment") == 0) {
        printf("%d\n", putenv(strdup(text)));
    } else if (strcmp(command, "exec") == 0) {
        puts("0");
        fflush(stdout);
        execl("/proc/self/exe", "again", (char *)NULL);
    } else if (strcmp(command, "fork") == 0) {
        fflush(stdout);
        pid_t child = fork();
        if (child > 0) {
            exit(waitpid(child, NULL, 0) == child ? 0 : 1);
        }
        printf("0\n");
    } else {
        exit(2);
    }
}

int main(void) {
    char command[16], text[32], line[64];
    find_functions();
    setvbuf(stdin, NULL, _IONBF, 0);
    while (fgets(line, sizeof line, stdin) != NULL) {
        strcpy(text, "0");
        if (sscanf(line, "%15s %31s", command, text) >= 1) {
            obey(command, text);
            fflush(stdout);
        }
    }
    return 0;
}
