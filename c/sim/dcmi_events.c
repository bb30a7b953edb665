/* Simulated libdcmi.so: health, active error codes, and the blocking read of fault events.
 *
 * The driver queues the events of each chip for the process from dcmi_init on; each is handed out
 * once. The error code list is the present truth, the events are what changed.
 */
#include "dcmi.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ERROR_STRING_BYTES_MIN 48 /* the driver refuses smaller buffers */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t seen[HCS_SIM_DEVICES_MAX]; /* last event handed out, per card; guarded by `mutex` */

void hcs_dcmi_events_begin(const struct hcs_sim_scenario *scenario) {
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < HCS_SIM_DEVICES_MAX; i++)
        seen[i] = hcs_sim_last_event(scenario);
    pthread_mutex_unlock(&mutex);
}

bool hcs_dcmi_code(const char *text, unsigned *code) {
    char *end;
    unsigned long long wide = strtoull(text, &end, 16);
    *code = (unsigned)wide;
    return *text && !*end && wide <= UINT32_MAX;
}

/* --- State ----------------------------------------------------------------------------------- */

/* Collect the active codes of a card; at most `length` are stored, all are counted. */
static unsigned active_codes(const struct hcs_sim_scenario *scenario, unsigned number,
                             unsigned *codes, unsigned length) {
    unsigned count = 0, code;
    for (size_t i = 0; i < scenario->fault_count; i++) {
        const struct hcs_sim_fault *fault = &scenario->faults[i];
        if (fault->device != number || !hcs_dcmi_code(fault->code, &code))
            continue;
        if (count < length)
            codes[count] = code;
        count++;
    }
    return count;
}

EXPORT int dcmi_get_device_health(int card_id, int device_id, unsigned *health);
EXPORT int dcmi_get_device_health(int card_id, int device_id, unsigned *health) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    int result = hcs_dcmi_enter_any(card_id, device_id, &scenario, &device);
    if (result != DCMI_OK)
        return result;
    if (!health)
        result = DCMI_ERR_CODE_INVALID_PARAMETER;
    else if (!device->present)
        *health = DCMI_HEALTH_ABSENT;
    else
        *health = active_codes(scenario, device->number, NULL, 0) ? DCMI_HEALTH_CRITICAL
                                                                  : DCMI_HEALTH_OK;
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT int dcmi_get_device_errorcode_v2(int card_id, int device_id, int *count, unsigned *codes,
                                        unsigned length);
EXPORT int dcmi_get_device_errorcode_v2(int card_id, int device_id, int *count, unsigned *codes,
                                        unsigned length) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    if (!count || !codes || length == 0)
        return DCMI_ERR_CODE_INVALID_PARAMETER;
    int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
    if (result != DCMI_OK)
        return result;
    unsigned found = active_codes(scenario, device->number, codes, length);
    hcs_sim_scenario_release(scenario);
    if (found > DCMI_ERROR_CODES_MAX)
        found = DCMI_ERROR_CODES_MAX;
    if (found > length)
        return DCMI_ERR_CODE_INVALID_PARAMETER;
    *count = (int)found;
    return DCMI_OK;
}

EXPORT int dcmi_get_device_errorcode_string(int card_id, int device_id, unsigned code,
                                            unsigned char *text, int length);
EXPORT int dcmi_get_device_errorcode_string(int card_id, int device_id, unsigned code,
                                            unsigned char *text, int length) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    if (!text || length < ERROR_STRING_BYTES_MIN)
        return DCMI_ERR_CODE_INVALID_PARAMETER;
    int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
    hcs_sim_scenario_release(scenario);
    if (result == DCMI_OK)
        snprintf((char *)text, (size_t)length, "simulated fault %08X", code);
    return result;
}

/* --- Events ---------------------------------------------------------------------------------- */

static void fill(struct dcmi_event *out, const struct hcs_sim_event *event, unsigned code,
                 unsigned card) {
    memset(out, 0, sizeof *out);
    struct dcmi_dms_fault_event *fault = &out->event_t.dms_event;
    fault->event_id = code;
    fault->deviceid = (unsigned short)card;
    fault->severity = DCMI_SEVERITY_CRITICAL;
    fault->assertion = event->raised;
    fault->event_serial_num = (int)event->number;
    fault->notify_serial_num = (int)event->number;
    fault->alarm_raised_time = (uint64_t)(event->at_ns / 1000000);
    snprintf(fault->event_name, sizeof fault->event_name, "simulated fault %08X", code);
}

/* Whether a filter lets an event through: of a severity, all from there up. */
static bool passes(const struct dcmi_event_filter *filter,
                   const struct dcmi_dms_fault_event *fault) {
    if (filter->filter_flag & DCMI_FILTER_EVENT_ID && filter->event_id != fault->event_id)
        return false;
    return !(filter->filter_flag & DCMI_FILTER_SEVERITY) || fault->severity >= filter->severity;
}

/* Take the oldest event of a card that was not handed out. */
static bool take(const struct hcs_sim_scenario *scenario, const struct hcs_sim_device *device,
                 const struct dcmi_event_filter *filter, struct dcmi_event *out) {
    bool found = false;
    unsigned code;
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < scenario->event_count && !found; i++) {
        const struct hcs_sim_event *event = &scenario->events[i];
        if (event->device != device->number || event->number <= seen[device->number])
            continue;
        seen[device->number] = event->number;
        if (!hcs_dcmi_code(event->code, &code))
            continue;
        fill(out, event, code, hcs_sim_index_of(scenario, device));
        found = passes(filter, &out->event_t.dms_event);
    }
    pthread_mutex_unlock(&mutex);
    return found;
}

static uint64_t monotonic_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

EXPORT int dcmi_get_fault_event(int card_id, int device_id, int timeout_ms,
                                struct dcmi_event_filter filter, struct dcmi_event *event);
EXPORT int dcmi_get_fault_event(int card_id, int device_id, int timeout_ms,
                                struct dcmi_event_filter filter, struct dcmi_event *event) {
    if (!event || timeout_ms < -1 || timeout_ms > DCMI_EVENT_WAIT_MS_MAX)
        return DCMI_ERR_CODE_INVALID_PARAMETER;
    uint64_t deadline = timeout_ms < 0 ? UINT64_MAX : monotonic_ms() + (uint64_t)timeout_ms;
    for (;;) {
        const struct hcs_sim_scenario *scenario;
        const struct hcs_sim_device *device;
        int result = hcs_dcmi_enter(card_id, device_id, &scenario, &device);
        if (result != DCMI_OK)
            return result;
        bool found = take(scenario, device, &filter, event);
        uint64_t now = monotonic_ms();
        uint64_t left = deadline > now ? deadline - now : 0;
        if (!found && left)
            hcs_sim_scenario_wait(scenario, left < 1000 ? (unsigned)left : 1000);
        hcs_sim_scenario_release(scenario);
        if (found || !left)
            return found ? DCMI_OK : DCMI_ERR_CODE_TIME_OUT;
    }
}
