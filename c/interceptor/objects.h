/* The loaded objects themselves, where asking the loader is not possible or does not help. */
#ifndef HCS_OBJECTS_H
#define HCS_OBJECTS_H

/* A function that the C library exports, under whatever version; NULL: not found. */
void *hcs_objects_in_libc(const char *name);

/* Change what all objects' references to functions are bound to: `instead` says for a name and what
 * it is bound to what it shall be, or NULL. */
void hcs_objects_rebind(void *(*instead)(const char *name, void *bound));

#endif
