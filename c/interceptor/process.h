/* Who a process is, in one word: a pid alone may name another process tomorrow.
 *
 * The pid, when it started, and what tells one program from the next one that it executes: exec
 * keeps pid and start, but gives back what the old program held of the cards.
 */
#ifndef HCS_PROCESS_H
#define HCS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

/* The calling process, never 0. Where /proc says nothing, its pid must do. */
uint64_t hcs_process_self(void);

/* Whether that process still lives and still runs that program. A killed process that nobody has
 * waited for yet does not: its memory is gone. When in doubt (no /proc) it lives. Keeps errno. */
bool hcs_process_lives(uint64_t process);

/* The pid namespace's inode, 0 when it cannot be known. */
uint64_t hcs_process_pid_namespace(void);

#endif
