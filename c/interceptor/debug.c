/* See debug.h. */
#define _GNU_SOURCE
#include "debug.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "seldom.h"

#define LINE_BYTES_MAX 256

HCS_SELDOM void hcs_debug(const char *event, const char *detail) {
    const char *wanted = getenv("HCS_DEBUG");
    if (wanted == NULL || *wanted == '\0') {
        return;
    }
    int saved_errno = errno;
    char line[LINE_BYTES_MAX];
    int length = snprintf(line, sizeof line,
                          "{\"hcs\": \"interceptor\", \"pid\": %d, \"event\": \"%s\", "
                          "\"detail\": \"%s\"}\n",
                          getpid(), event, detail);
    length = length < (int)sizeof line ? length : (int)sizeof line - 1;
    if (write(STDERR_FILENO, line, (size_t)length) < 0) {
        /* A closed stderr is the application's choice. */
    }
    errno = saved_errno;
}
