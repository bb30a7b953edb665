/* The books of physical memory, where the runtime refuses what it was asked for: a reference that
 * was not dropped is one still. Built with sanitizers. */
#include <assert.h>

#include "../../../c/interceptor/account.h"
#include "../../../c/interceptor/handles.h"

#define PAGE_BYTES (UINT64_C(2) << 20)
#define HANDLE 4711
#define ADDRESS (UINT64_C(1) << 40)

static uint64_t used_pages(void) {
    unsigned slot;
    return hcs_ledger_used_bytes(hcs_account_ledger(&slot), 0) / PAGE_BYTES;
}

static void create(uint64_t handle, uint64_t pages) {
    hcs_charge charge = hcs_reserve(0, pages * PAGE_BYTES);
    assert(charge != HCS_UNENFORCED && charge != HCS_REFUSED);
    hcs_settle(charge, hcs_handle_created(handle));
}

static void release(uint64_t handle) { hcs_settle(hcs_handle_release(handle), 0); }

static void fail_to_release(uint64_t handle) {
    hcs_handle_not_released(handle, hcs_handle_release(handle));
}

static void unmap(uint64_t address, uint64_t pages) {
    struct hcs_unmapped unmapped = hcs_handle_unmap(address, pages * PAGE_BYTES);
    hcs_handle_give_back(&unmapped);
}

static void fail_to_unmap(uint64_t address, uint64_t pages) {
    struct hcs_unmapped unmapped = hcs_handle_unmap(address, pages * PAGE_BYTES);
    hcs_handle_not_unmapped(&unmapped);
}

static void a_release_that_failed_can_be_done_again(void) {
    create(HANDLE, 1);
    fail_to_release(HANDLE);
    assert(used_pages() == 1);
    release(HANDLE);
    assert(used_pages() == 0);
}

static void what_was_not_released_can_be_mapped(void) {
    create(HANDLE, 1);
    fail_to_release(HANDLE);
    hcs_handle_mapped(HANDLE, ADDRESS, PAGE_BYTES);
    fail_to_release(HANDLE);
    release(HANDLE);
    assert(used_pages() == 1);
    unmap(ADDRESS, 1);
    assert(used_pages() == 0);
}

static void a_failed_release_of_a_stranger_leaves_nothing(void) {
    fail_to_release(HANDLE);
    create(HANDLE, 1);
    release(HANDLE);
    assert(used_pages() == 0);
}

static void an_unmap_that_failed_can_be_done_again(void) {
    create(HANDLE, 1);
    create(HANDLE + 1, 2);
    hcs_handle_mapped(HANDLE, ADDRESS, PAGE_BYTES);
    hcs_handle_mapped(HANDLE + 1, ADDRESS + PAGE_BYTES, 2 * PAGE_BYTES);
    release(HANDLE);
    release(HANDLE + 1);
    fail_to_unmap(ADDRESS, 3);
    fail_to_unmap(ADDRESS, 0);
    assert(used_pages() == 3);
    unmap(ADDRESS, 2); /* half of a mapping: nothing of ours */
    assert(used_pages() == 3);
    unmap(ADDRESS + PAGE_BYTES, 2);
    assert(used_pages() == 1);
    unmap(ADDRESS, 0);
    assert(used_pages() == 0);
}

static void what_was_imported_is_unmapped_with_ours(void) {
    create(HANDLE, 1);
    hcs_handle_mapped(HANDLE, ADDRESS, PAGE_BYTES);
    hcs_handle_mapped(HANDLE + 1, ADDRESS + PAGE_BYTES, PAGE_BYTES);
    release(HANDLE);
    fail_to_unmap(ADDRESS, 2);
    unmap(ADDRESS + PAGE_BYTES, 1);
    assert(used_pages() == 1);
    hcs_handle_mapped(HANDLE + 1, ADDRESS + PAGE_BYTES, PAGE_BYTES);
    unmap(ADDRESS, 2);
    assert(used_pages() == 0);
}

/* Another thread may map there before we are back from the unmap. */
static void an_address_is_anothers_as_soon_as_it_is_unmapped(void) {
    create(HANDLE, 1);
    create(HANDLE + 1, 2);
    hcs_handle_mapped(HANDLE, ADDRESS, PAGE_BYTES);
    release(HANDLE);
    struct hcs_unmapped unmapped = hcs_handle_unmap(ADDRESS, PAGE_BYTES);
    hcs_handle_mapped(HANDLE + 1, ADDRESS, 2 * PAGE_BYTES);
    release(HANDLE + 1);
    hcs_handle_give_back(&unmapped);
    assert(used_pages() == 2);
    unmap(ADDRESS, 2);
    assert(used_pages() == 0);
}

int main(void) {
    a_release_that_failed_can_be_done_again();
    what_was_not_released_can_be_mapped();
    a_failed_release_of_a_stranger_leaves_nothing();
    an_unmap_that_failed_can_be_done_again();
    what_was_imported_is_unmapped_with_ours();
    an_address_is_anothers_as_soon_as_it_is_unmapped();
    return 0;
}
