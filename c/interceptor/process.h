/* Who a process is: a pid alone may name another process tomorrow, a pid with its start never. */
#ifndef HCS_PROCESS_H
#define HCS_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

/* When a process started, in clock ticks since boot; 0: no such process, or no /proc. */
uint64_t hcs_process_start_ticks(int pid);

/* Whether the process that had this pid and start still lives. A killed process that nobody has
 * waited for yet does not: its memory is gone. When in doubt (no /proc) it lives. */
bool hcs_process_lives(int pid, uint64_t start_ticks);

/* The pid namespace's inode, 0 when it cannot be known. */
uint64_t hcs_process_pid_namespace(void);

#endif
