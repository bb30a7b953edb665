/* The only thing we ever print: one JSON line on stderr per event, and only with HCS_DEBUG set. */
#ifndef HCS_DEBUG_H
#define HCS_DEBUG_H

/* `event` and `detail` are constants of ours: nothing in them needs escaping. Keeps errno. */
void hcs_debug(const char *event, const char *detail);

#endif
