/* See objects.h. */
#define _GNU_SOURCE
#include "objects.h"

#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__aarch64__)
enum { ABSOLUTE = R_AARCH64_ABS64, IN_TABLE = R_AARCH64_GLOB_DAT, TO_CALL = R_AARCH64_JUMP_SLOT };
#else
enum { ABSOLUTE = R_X86_64_64, IN_TABLE = R_X86_64_GLOB_DAT, TO_CALL = R_X86_64_JUMP_SLOT };
#endif

struct object {
    uintptr_t base;
    const ElfW(Sym) *symbols;
    const char *strings;
    const uint32_t *hash; /* DT_GNU_HASH; NULL: there is none */
    const ElfW(Rela) *references[2];
    size_t reference_bytes[2];
    uintptr_t sealed; /* read only once it was bound */
    size_t sealed_bytes;
};

/* The loader has made most of these absolute, but not where it must not write. */
static const void *at(uintptr_t base, ElfW(Addr) address) {
    return (const void *)(address < base ? base + address : address);
}

static void read_entry(struct object *object, const ElfW(Dyn) *entry) {
    const void *there = at(object->base, entry->d_un.d_ptr);
    switch (entry->d_tag) {
    case DT_SYMTAB:
        object->symbols = there;
        break;
    case DT_STRTAB:
        object->strings = there;
        break;
    case DT_GNU_HASH:
        object->hash = there;
        break;
    case DT_RELA:
        object->references[0] = there;
        break;
    case DT_RELASZ:
        object->reference_bytes[0] = entry->d_un.d_val;
        break;
    case DT_JMPREL:
        object->references[1] = there;
        break;
    case DT_PLTRELSZ:
        object->reference_bytes[1] = entry->d_un.d_val;
        break;
    }
}

/* False: not one that has symbols. */
static bool read_object(uintptr_t base, const ElfW(Dyn) *entry, struct object *object) {
    object->base = base;
    for (; entry->d_tag != DT_NULL; entry++) {
        read_entry(object, entry);
    }
    return object->symbols != NULL && object->strings != NULL;
}

/* The first lookup of all comes from others' first moments, when not even strcmp may be ready. */
static bool is_same(const char *one, const char *other) {
    while (*one != '\0' && *one == *other) {
        one++;
        other++;
    }
    return *one == *other;
}

static const char *file_of(const char *path) {
    const char *file = path;
    for (; *path != '\0'; path++) {
        file = *path == '/' ? path + 1 : file;
    }
    return file;
}

static uint32_t hash_of(const char *name) {
    uint32_t hash = 5381;
    for (; *name != '\0'; name++) {
        hash = hash * 33 + (unsigned char)*name;
    }
    return hash;
}

/* The table: four numbers, a filter, buckets, and chains whose last hash is odd. */
static void *find(const struct object *object, const char *name) {
    const uint32_t *table = object->hash;
    uint32_t wanted = hash_of(name), first = table[1];
    const uint32_t *buckets = table + 4 + table[2] * (sizeof(ElfW(Addr)) / sizeof *table);
    const uint32_t *chains = buckets + table[0];
    uint32_t number = table[0] > 0 ? buckets[wanted % table[0]] : 0;
    for (bool last = number < first; !last; number++) {
        const ElfW(Sym) *symbol = &object->symbols[number];
        if ((chains[number - first] | 1) == (wanted | 1) && symbol->st_shndx != SHN_UNDEF &&
            is_same(object->strings + symbol->st_name, name)) {
            return (void *)(object->base + symbol->st_value);
        }
        last = (chains[number - first] & 1) != 0;
    }
    return NULL;
}

void *hcs_objects_in_libc(const char *name) {
    for (const struct link_map *map = _r_debug.r_map; map != NULL; map = map->l_next) {
        struct object object = {0};
        const char *file = file_of(map->l_name);
        bool is_libc = is_same(file, "libc.so.6") || is_same(file, "libdl.so.2"); /* before 2.34 */
        void *function = NULL;
        if (is_libc && read_object(map->l_addr, map->l_ld, &object) && object.hash != NULL) {
            function = find(&object, name);
        }
        if (function != NULL) {
            return function;
        }
    }
    return NULL;
}

/* One reference; what cannot be written stays as it is. */
static void bind(const struct object *object, void **slot, void *function) {
    uintptr_t page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t page = (uintptr_t)slot & ~(page_bytes - 1);
    bool is_sealed = (uintptr_t)slot - object->sealed < object->sealed_bytes;
    if (is_sealed && mprotect((void *)page, page_bytes, PROT_READ | PROT_WRITE) != 0) {
        return;
    }
    __atomic_store_n(slot, function, __ATOMIC_RELEASE);
    if (is_sealed) {
        mprotect((void *)page, page_bytes, PROT_READ);
    }
}

struct change {
    void *(*instead)(const char *name, void *bound);
};

static void rebind_table(const struct object *object, unsigned table,
                         const struct change *change) {
    const ElfW(Rela) *reference = object->references[table];
    const ElfW(Rela) *end = reference + object->reference_bytes[table] / sizeof *reference;
    for (; reference < end; reference++) {
        unsigned type = ELF64_R_TYPE(reference->r_info);
        if (type == ABSOLUTE || type == IN_TABLE || type == TO_CALL) {
            const ElfW(Sym) *symbol = &object->symbols[ELF64_R_SYM(reference->r_info)];
            void **slot = (void **)(object->base + reference->r_offset);
            void *function = change->instead(object->strings + symbol->st_name, *slot);
            if (function != NULL) {
                bind(object, slot, function);
            }
        }
    }
}

static int rebind(struct dl_phdr_info *info, size_t size, void *closure) {
    (void)size;
    struct object object = {0};
    const ElfW(Dyn) *dynamic = NULL;
    bool is_ours = false;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t begin = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_GNU_RELRO) {
            object.sealed = begin;
            object.sealed_bytes = segment->p_memsz;
        } else if (segment->p_type == PT_DYNAMIC) {
            dynamic = (const ElfW(Dyn) *)begin;
        } else if (segment->p_type == PT_LOAD) {
            is_ours |= (uintptr_t)rebind_table - begin < segment->p_memsz;
        }
    }
    if (dynamic != NULL && !is_ours && read_object(info->dlpi_addr, dynamic, &object)) {
        rebind_table(&object, 0, closure);
        rebind_table(&object, 1, closure);
    }
    return 0;
}

void hcs_objects_rebind(void *(*instead)(const char *name, void *bound)) {
    struct change change = {instead};
    dl_iterate_phdr(rebind, &change);
}
