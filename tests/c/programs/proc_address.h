/* As the runtime does: the name without its suffix, which a version or a flag stands for. */
static void *proc_address(void *library, const char *name) {
    int (*get)(const char *, void **, int, uint64_t, int *);
    void *function = NULL;
    char plain[64];
    snprintf(plain, sizeof plain, "%s", name);
    char *suffix = strstr(plain, "_ptsz");
    uint64_t flags = suffix != NULL ? 2 : 0;
    suffix = suffix != NULL ? suffix : strstr(plain, "_v2");
    if (suffix != NULL) {
        *suffix = '\0';
    }
    *(void **)&get = dlsym(library, "cuGetProcAddress_v2");
    if (get(plain, &function, 12090, flags, NULL) != 0) {
        fprintf(stderr, "%s\n", name);
        exit(1);
    }
    return function;
}
