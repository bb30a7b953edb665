/* As the runtime does: the name without its suffix, which a version or a flag stands for. A
 * runtime's header says GET_PROC_ADDRESS, the lookup's name, and whether it takes a status (as the
 * newer form of CUDA's does). */
static void *proc_address(void *library, const char *name) {
    void *get = dlsym(library, GET_PROC_ADDRESS);
    void *function = NULL;
    char plain[64];
    snprintf(plain, sizeof plain, "%s", name);
    char *suffix = strstr(plain, "_ptsz");
    uint64_t flags = suffix != NULL ? 2 : 0;
    suffix = suffix != NULL ? suffix : strstr(plain, "_v");
    if (suffix != NULL) {
        *suffix = '\0';
    }
    int result =
        GET_PROC_ADDRESS_HAS_STATUS
            ? ((int (*)(const char *, void **, int, uint64_t, int *))get)(plain, &function, 12090,
                                                                        flags, NULL)
            : ((int (*)(const char *, void **, int, uint64_t))get)(plain, &function, 12090, flags);
    if (result != 0) {
        fprintf(stderr, "%s\n", name);
        exit(1);
    }
    return function;
}
