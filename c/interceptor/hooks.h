/* The shape of every hook: a file of hooks includes this and says, once per function, what it is
 * called, what it costs and where its result is.
 *
 * Before its first hook such a file defines:
 *     LIBRARY          the struct hcs_library that has the functions
 *     OUT_OF_MEMORY    the runtime's own code for a refused allocation
 *     NOT_THERE        our answer where there is no runtime to ask
 *
 * The vendors' functions are declared by us (no vendor header is needed to build): types are as
 * wide as theirs, results are their enums as int, and 0 is everybody's success. PARAMETERS and
 * ARGUMENTS are the function's, in parentheses.
 */
#ifndef HCS_HOOKS_H
#define HCS_HOOKS_H

#include <stddef.h>
#include <stdint.h>

#include "account.h"
#include "cards.h"
#include "handles.h"
#include "report.h"
#include "seldom.h"
#include "share.h"
#include "symbols.h"

/* An address or handle of any type, as the tables take it. */
#define HCS_KEY(POINTER) ((uint64_t)(uintptr_t)(POINTER))

/* A function that only we call: afterwards hcs_real(&find_FUNCTION). */
#define HCS_CALLED(FUNCTION) HCS_SYMBOL(FUNCTION, LIBRARY, NULL)

/* Any hook: inside of another one it is the vendor's function, else what follows, which ends with
 * a `result`. */
#define HCS_HOOKED(FUNCTION, PARAMETERS, ARGUMENTS, ...)                                          \
    HCS_HOOK int FUNCTION PARAMETERS;                                                             \
    HCS_SYMBOL(FUNCTION, LIBRARY, FUNCTION);                                                      \
    int FUNCTION PARAMETERS {                                                                     \
        int(*real) PARAMETERS = hcs_real(&find_##FUNCTION);                                       \
        if (real == NULL) {                                                                       \
            return NOT_THERE;                                                                     \
        }                                                                                         \
        if (!hcs_enter()) {                                                                       \
            return real ARGUMENTS;                                                                \
        }                                                                                         \
        __VA_ARGS__                                                                               \
        hcs_leave();                                                                              \
        return result;                                                                            \
    }                                                                                             \
    struct hcs_symbol

/* An allocation: RESERVATION is the charge that it asks for, KEY what was allocated. */
#define HCS_ALLOCATION(FUNCTION, PARAMETERS, ARGUMENTS, RESERVATION, KEY)                         \
    HCS_HOOKED(FUNCTION, PARAMETERS, ARGUMENTS,                                                   \
        hcs_charge charge = RESERVATION;                                                          \
        int result = OUT_OF_MEMORY;                                                               \
        if (charge != HCS_REFUSED) {                                                              \
            result = real ARGUMENTS;                                                              \
            hcs_settle(charge, result == 0 ? (KEY) : 0);                                          \
        }                                                                                         \
    )

/* A free: CHARGE is what it will give back, KEY what it frees. */
#define HCS_FREE(FUNCTION, PARAMETERS, ARGUMENTS, CHARGE, KEY)                                    \
    HCS_HOOKED(FUNCTION, PARAMETERS, ARGUMENTS,                                                   \
        hcs_charge charge = CHARGE;                                                               \
        int result = real ARGUMENTS;                                                              \
        hcs_settle(charge, result == 0 ? 0 : (KEY));                                              \
    )

/* Something to do BEFORE the call, and something AFTER it if it succeeded. */
#define HCS_AROUND(FUNCTION, PARAMETERS, ARGUMENTS, BEFORE, AFTER)                                \
    HCS_HOOKED(FUNCTION, PARAMETERS, ARGUMENTS,                                                   \
        BEFORE;                                                                                   \
        int result = real ARGUMENTS;                                                              \
        if (result == 0) {                                                                        \
            AFTER;                                                                                \
        }                                                                                         \
    )

#define HCS_AFTER(FUNCTION, PARAMETERS, ARGUMENTS, AFTER)                                         \
    HCS_AROUND(FUNCTION, PARAMETERS, ARGUMENTS, (void)0, AFTER)

/* A launch of work, in the queue that PLACE says. Its first call decides which way all go from then
 * on: through ours, or, without a share, straight to the vendor's. Either way it is counted. */
#define HCS_LAUNCH(FUNCTION, PARAMETERS, ARGUMENTS, PLACE)                                        \
    HCS_LAUNCH_AROUND(FUNCTION, PARAMETERS, ARGUMENTS, PLACE, true, (void)0)

/* One that is refused unless it is READY, and has something to do AFTER it. */
#define HCS_LAUNCH_AROUND(FUNCTION, PARAMETERS, ARGUMENTS, PLACE, READY, AFTER)                   \
    HCS_HOOK int FUNCTION PARAMETERS;                                                             \
    HCS_SYMBOL(FUNCTION, LIBRARY, FUNCTION);                                                      \
    static int FUNCTION##_limited PARAMETERS {                                                    \
        int(*real) PARAMETERS = hcs_real(&find_##FUNCTION);                                       \
        if (!hcs_enter()) {                                                                       \
            return real ARGUMENTS;                                                                \
        }                                                                                         \
        struct hcs_share_place place = PLACE;                                                     \
        struct hcs_share_work *work = hcs_share_begin(&place);                                    \
        int result = real ARGUMENTS;                                                              \
        hcs_share_launched(work, result == 0);                                                    \
        hcs_leave();                                                                              \
        return result;                                                                            \
    }                                                                                             \
    static int FUNCTION##_first PARAMETERS;                                                       \
    static int(*FUNCTION##_way) PARAMETERS = FUNCTION##_first;                                    \
    static HCS_SELDOM int FUNCTION##_first PARAMETERS {                                           \
        int(*real) PARAMETERS = hcs_real(&find_##FUNCTION);                                       \
        if (real == NULL) {                                                                       \
            return NOT_THERE;                                                                     \
        }                                                                                         \
        hcs_account_ledger_of(0); /* who only launches is to be heard of, too */                  \
        int(*way) PARAMETERS = hcs_share_limits() ? FUNCTION##_limited : real;                    \
        __atomic_store_n(&FUNCTION##_way, way, __ATOMIC_RELEASE);                                 \
        return way ARGUMENTS;                                                                     \
    }                                                                                             \
    int FUNCTION PARAMETERS {                                                                     \
        int(*way) PARAMETERS = __atomic_load_n(&FUNCTION##_way, __ATOMIC_ACQUIRE);                \
        hcs_report_launching();                                                                   \
        int result = (READY) ? way ARGUMENTS : OUT_OF_MEMORY;                                     \
        hcs_report_launched(result == 0);                                                         \
        AFTER;                                                                                    \
        return result;                                                                            \
    }                                                                                             \
    struct hcs_symbol

/* Physical memory behind handles (handles.h), where the vendor's functions are shaped as CUDA's. */
#define HCS_MAPS(FUNCTION, POINTER)                                                               \
    HCS_AFTER(FUNCTION,                                                                           \
              (POINTER address, size_t bytes, size_t offset, HANDLE handle, uint64_t flags),      \
              (address, bytes, offset, handle, flags),                                            \
              hcs_handle_mapped(HCS_KEY(handle), HCS_KEY(address), bytes))
#define HCS_UNMAPS(FUNCTION, POINTER)                                                             \
    HCS_UNMAPS_RANGE(FUNCTION, (POINTER address, size_t bytes), (address, bytes), bytes)
/* BYTES 0: the one mapping that begins there. */
#define HCS_UNMAPS_RANGE(FUNCTION, PARAMETERS, ARGUMENTS, BYTES)                                  \
    HCS_HOOKED(FUNCTION, PARAMETERS, ARGUMENTS,                                                   \
        struct hcs_unmapped unmapped = hcs_handle_unmap(HCS_KEY(address), BYTES);                 \
        int result = real ARGUMENTS;                                                              \
        if (result == 0) {                                                                        \
            hcs_handle_give_back(&unmapped);                                                      \
        } else {                                                                                  \
            hcs_handle_not_unmapped(&unmapped);                                                   \
        }                                                                                         \
    )
#define HCS_RETAINS(FUNCTION)                                                                     \
    HCS_AFTER(FUNCTION, (HANDLE * handle, void *address), (handle, address),                      \
              hcs_handle_retained(HCS_KEY(*handle)))
#define HCS_RELEASES(FUNCTION)                                                                    \
    HCS_HOOKED(FUNCTION, (HANDLE handle), (handle),                                               \
        hcs_charge charge = hcs_handle_release(HCS_KEY(handle));                                  \
        int result = real(handle);                                                                \
        if (result == 0) {                                                                        \
            hcs_settle(charge, 0);                                                                \
        } else {                                                                                  \
            hcs_handle_not_released(HCS_KEY(handle), charge);                                     \
        }                                                                                         \
    )

/* What is really handed out is a multiple of something; a size beyond all limits stays one. */
static inline uint64_t hcs_round_up(uint64_t bytes, uint64_t multiple) {
    return bytes > UINT64_MAX - multiple ? UINT64_MAX : (bytes + multiple - 1) & ~(multiple - 1);
}

/* Sizes are products of what the program says, which may overflow. */
static inline uint64_t hcs_product(uint64_t one, uint64_t other) {
    uint64_t product;
    return __builtin_mul_overflow(one, other, &product) ? UINT64_MAX : product;
}

#endif
