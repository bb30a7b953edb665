/* What both layers of Ascend's runtime can be told besides, by functions that either has under
 * these names; included once it has them. */
static int destroy_pool(void) {
    int result = end_pool();
    pool = NULL;
    return result;
}
static int take(int (*allocate)(uint64_t *block, size_t bytes)) { /* for good, nearly 1 GiB */
    uint64_t block;
    return allocate(&block, ((size_t)1 << 30) - 31);
}
static int take_giant(void) { return take(giant); }
static int take_giant_physical(void) { return take(physical_giant); }

#define ASCEND_EXTRAS                                                                              \
    {"trim", trim},                                                                                \
    {"destroy_pool", destroy_pool},                                                                \
    {"take_giant", take_giant},                                                                    \
    {"take_giant_physical", take_giant_physical},                                                  \
    {"reset", reset},                                                                              \
    {"reset_at_once", reset_at_once}
