/* Simulated libcndev.so: health states with their incidents, and events with Xids.
 *
 * Codes of the scenario are the names of cndevHealthError_t, which last, or the numbers of Xids,
 * which are told once. An event handle hands out what happens after the card is registered.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cndev.h"

#define HANDLES_MAX 16 /* one process has one or two */

/* cndevHealthError_t from 0 on; the true ones are failures, for the others the card only warns. */
static const struct {
    const char *name;
    bool fails;
} ERRORS[] = {
    {"CNDEV_FR_OK", false},
    {"CNDEV_FR_UNKNOWN", false},
    {"CNDEV_FR_INTERNAL", false},
    {"CNDEV_FR_XID_ERROR", false},
    {"CNDEV_FR_PCIE_REPLAY_RATE", false},
    {"CNDEV_FR_PCIE_GENERATION", false},
    {"CNDEV_FR_PCIE_WIDTH", false},
    {"CNDEV_FR_LOW_BANDWIDTH", false},
    {"CNDEV_FR_HIGH_LATENCY", false},
    {"CNDEV_FR_MLULINK_DOWN", true},
    {"CNDEV_FR_MLULINK_REPLAY", false},
    {"CNDEV_FR_MLULINK_ERROR_THRESHOLD", false},
    {"CNDEV_FR_MLULINK_CRC_ERROR_THRESHOLD", false},
    {"CNDEV_FR_DIE2DIE_CRC_ERROR_THRESHOLD", false},
    {"CNDEV_FR_SBE_VIOLATION", false},
    {"CNDEV_FR_DBE_VIOLATION", true},
    {"CNDEV_FR_SBE_THRESHOLD_VIOLATION", false},
    {"CNDEV_FR_DBE_THRESHOLD_VIOLATION", false},
    {"CNDEV_FR_ROW_REMAP_FAILURE", true},
    {"CNDEV_FR_PENDING_ROW_REMAP", false},
    {"CNDEV_FR_ADDRESSSWAP_FAILURE", true},
    {"CNDEV_FR_PENDING_ADDRESSSWAP", false},
    {"CNDEV_FR_REPAIR_FAILURE", true},
    {"CNDEV_FR_PENDING_PAGE_REPAIR", false},
    {"CNDEV_FR_PENDING_PAGE_RETIREMENTS", false},
    {"CNDEV_FR_PAGE_REPAIR_RESOURCE_THRESHOLD", false},
    {"CNDEV_FR_TEMP_VIOLATION", false},
    {"CNDEV_FR_THERMAL_VIOLATION", false},
    {"CNDEV_FR_DEVICE_COUNT_MISMATCH", true},
    {"CNDEV_FR_DRIVER_ERROR", false},
    {"CNDEV_FR_DEVSYS_ERROR", true},
};
#define ERROR_COUNT (sizeof ERRORS / sizeof *ERRORS)

/* --- Health ---------------------------------------------------------------------------------- */

static void fill_incident(cndevIncidentInfo_t *out, unsigned code, cndevDevice_t handle) {
    memset(out, 0, sizeof *out);
    out->health = ERRORS[code].fails ? CNDEV_HEALTH_RESULT_FAIL : CNDEV_HEALTH_RESULT_WARN;
    snprintf(out->error.msg, sizeof out->error.msg, "simulated %s", ERRORS[code].name);
    out->error.device_id = (uint32_t)handle;
    out->error.code = code;
}

static void fill_health(const struct hcs_sim_scenario *scenario, unsigned number,
                        cndevDevice_t handle, cndevCardHealthStateV2_t *out) {
    memset(out, 0, sizeof *out);
    for (unsigned code = 1; code < ERROR_COUNT; code++) {
        if (!hcs_sim_fault_count(scenario, number, ERRORS[code].name))
            continue;
        cndevIncidentInfo_t *incident = &out->incidents[out->incident_count++];
        fill_incident(incident, code, handle);
        if (incident->health > out->overallHealth)
            out->overallHealth = incident->health;
    }
    out->health = out->overallHealth < CNDEV_HEALTH_RESULT_FAIL;
    out->deviceState = out->health ? CNDEV_HEALTH_STATE_DEVICE_GOOD
                                   : CNDEV_HEALTH_STATE_DEVICE_IN_PROBLEM;
    out->driverState = CNDEV_HEALTH_STATE_DRIVER_RUNNING;
}
_Static_assert(ERROR_COUNT <= CNDEV_HEALTH_SYSTEM_MAX_INCIDENTS, "all of them at once fit");

EXPORT cndevRet_t cndevGetCardHealthStateV2(cndevCardHealthStateV2_t *out, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetCardHealthStateV2(cndevCardHealthStateV2_t *out, cndevDevice_t handle) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result = hcs_cndev_enter(handle, out, &scenario, &device);
    if (result == CNDEV_SUCCESS)
        fill_health(scenario, device->number, handle, out);
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT cndevRet_t cndevGetCardHealthState(cndevCardHealthState_t *out, cndevDevice_t handle);
EXPORT cndevRet_t cndevGetCardHealthState(cndevCardHealthState_t *out, cndevDevice_t handle) {
    if (out && out->version != CNDEV_VERSION_6)
        return CNDEV_ERROR_UNSUPPORTED_API_VERSION;
    cndevCardHealthStateV2_t whole;
    cndevRet_t result = cndevGetCardHealthStateV2(out ? &whole : NULL, handle);
    if (result == CNDEV_SUCCESS) {
        out->health = whole.health;
        out->deviceState = whole.deviceState;
        out->driverState = whole.driverState;
    }
    return result;
}

/* --- Events ---------------------------------------------------------------------------------- */

struct cndevEventHandle_st {
    bool used;
    bool registered[HCS_SIM_DEVICES_MAX];
    uint64_t seen[HCS_SIM_DEVICES_MAX]; /* number of the last event handed out, per card */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* guards everything below */
static struct cndevEventHandle_st handles[HANDLES_MAX];

void hcs_cndev_events_reset(void) {
    pthread_mutex_lock(&mutex);
    memset(handles, 0, sizeof handles);
    pthread_mutex_unlock(&mutex);
}

static bool valid(cndevEventHandle handle) {
    for (size_t i = 0; i < HANDLES_MAX; i++)
        if (handle == &handles[i])
            return handle->used;
    return false;
}

EXPORT cndevRet_t cndevEventHandleCreate(cndevEventHandle *handle);
EXPORT cndevRet_t cndevEventHandleCreate(cndevEventHandle *handle) {
    const struct hcs_sim_scenario *scenario;
    cndevRet_t result = hcs_cndev_acquire(&scenario);
    hcs_sim_scenario_release(scenario);
    if (result != CNDEV_SUCCESS)
        return result;
    if (!handle)
        return CNDEV_ERROR_INVALID_ARGUMENT;
    result = CNDEV_ERROR_INSUFFICIENT_SPACE;
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < HANDLES_MAX && result != CNDEV_SUCCESS; i++) {
        if (handles[i].used)
            continue;
        memset(&handles[i], 0, sizeof handles[i]);
        handles[i].used = true;
        *handle = &handles[i];
        result = CNDEV_SUCCESS;
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

EXPORT cndevRet_t cndevEventHandleDestroy(cndevEventHandle handle);
EXPORT cndevRet_t cndevEventHandleDestroy(cndevEventHandle handle) {
    pthread_mutex_lock(&mutex);
    bool known = valid(handle);
    if (known)
        handle->used = false;
    pthread_mutex_unlock(&mutex);
    return known ? CNDEV_SUCCESS : CNDEV_ERROR_INVALID_ARGUMENT;
}

EXPORT cndevRet_t cndevRegisterEvents(cndevEventHandle handle, unsigned long long types,
                                      cndevDevice_t card);
EXPORT cndevRet_t cndevRegisterEvents(cndevEventHandle handle, unsigned long long types,
                                      cndevDevice_t card) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    cndevRet_t result = hcs_cndev_enter(card, handle, &scenario, &device);
    if (result != CNDEV_SUCCESS)
        return result;
    pthread_mutex_lock(&mutex);
    if (!valid(handle)) {
        result = CNDEV_ERROR_INVALID_ARGUMENT;
    } else if (types & cndevEventTypeXidError && !handle->registered[device->number]) {
        handle->registered[device->number] = true;
        handle->seen[device->number] = hcs_sim_last_event(scenario);
    }
    pthread_mutex_unlock(&mutex);
    hcs_sim_scenario_release(scenario);
    return result;
}

/* Take the oldest Xid that the handle has not handed out; called with the mutex held. */
static bool take_event(cndevEventHandle handle, const struct hcs_sim_scenario *scenario,
                       cndevEventData_t *data) {
    for (size_t i = 0; i < scenario->event_count; i++) {
        const struct hcs_sim_event *event = &scenario->events[i];
        char *end;
        unsigned long xid = strtoul(event->code, &end, 10);
        if (!event->raised || *end || !handle->registered[event->device])
            continue;
        if (event->number <= handle->seen[event->device])
            continue;
        handle->seen[event->device] = event->number;
        data->device =
            (cndevDevice_t)hcs_sim_index_of(scenario, &scenario->devices[event->device]);
        data->eventData = xid;
        data->eventType = cndevEventTypeXidError;
        data->timestamp = (uint64_t)event->at_ns / 1000;
        return true;
    }
    return false;
}

/* A card that went away is registered no more when it is back. */
static void forget_lost(cndevEventHandle handle, const struct hcs_sim_scenario *scenario) {
    for (size_t i = 0; i < scenario->device_count; i++)
        handle->registered[i] &= scenario->devices[i].present;
}

static cndevRet_t look(cndevEventHandle handle, const struct hcs_sim_scenario *scenario,
                       cndevEventData_t *data) {
    cndevRet_t result = CNDEV_ERROR_TIMEOUT;
    pthread_mutex_lock(&mutex);
    if (!valid(handle))
        result = CNDEV_ERROR_INVALID_ARGUMENT;
    else if (take_event(handle, scenario, data))
        result = CNDEV_SUCCESS;
    else
        forget_lost(handle, scenario);
    pthread_mutex_unlock(&mutex);
    return result;
}

static int64_t monotonic_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

EXPORT cndevRet_t cndevEventWait(cndevEventHandle handle, cndevEventData_t *data,
                                 int32_t timeout_ms);
EXPORT cndevRet_t cndevEventWait(cndevEventHandle handle, cndevEventData_t *data,
                                 int32_t timeout_ms) {
    int64_t deadline = monotonic_ms() + timeout_ms;
    if (!data || timeout_ms < 0)
        return CNDEV_ERROR_INVALID_ARGUMENT;
    if (data->version != CNDEV_VERSION_6)
        return CNDEV_ERROR_UNSUPPORTED_API_VERSION;
    for (;;) {
        const struct hcs_sim_scenario *scenario;
        cndevRet_t result = hcs_cndev_acquire(&scenario);
        if (result != CNDEV_SUCCESS)
            return result;
        result = look(handle, scenario, data);
        int64_t now = monotonic_ms();
        if (result == CNDEV_ERROR_TIMEOUT && now < deadline)
            hcs_sim_scenario_wait(scenario, (unsigned)(deadline - now));
        hcs_sim_scenario_release(scenario);
        if (result != CNDEV_ERROR_TIMEOUT || now >= deadline)
            return result;
    }
}
