/* Simulated libnvidia-ml.so.1: event sets with Xids.
 *
 * A registration begins with the events that come after it: a driver does not replay. A set hands
 * each event out once, in the order in which they happened. When nothing is pending and a
 * registered card has fallen off the bus, waiting answers GPU_IS_LOST, at once and every time.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "nvml.h"

#define SETS_MAX 16 /* one process has one or two */

struct nvmlEventSet_st {
    bool used;
    bool registered[HCS_SIM_DEVICES_MAX];
    uint64_t seen[HCS_SIM_DEVICES_MAX]; /* number of the last event handed out, per card */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* guards everything below */
static struct nvmlEventSet_st sets[SETS_MAX];

void hcs_nvml_events_reset(void) {
    pthread_mutex_lock(&mutex);
    memset(sets, 0, sizeof sets);
    pthread_mutex_unlock(&mutex);
}

static bool valid(nvmlEventSet_t set) {
    for (size_t i = 0; i < SETS_MAX; i++)
        if (set == &sets[i])
            return set->used;
    return false;
}

static nvmlReturn_t check_session(void) {
    const struct hcs_sim_scenario *scenario;
    nvmlReturn_t result = hcs_nvml_acquire(&scenario);
    hcs_sim_scenario_release(scenario);
    return result;
}

EXPORT nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set);
EXPORT nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set) {
    nvmlReturn_t result = check_session();
    if (result != NVML_SUCCESS)
        return result;
    if (!set)
        return NVML_ERROR_INVALID_ARGUMENT;
    result = NVML_ERROR_INSUFFICIENT_RESOURCES;
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < SETS_MAX && result != NVML_SUCCESS; i++) {
        if (sets[i].used)
            continue;
        memset(&sets[i], 0, sizeof sets[i]);
        sets[i].used = true;
        *set = &sets[i];
        result = NVML_SUCCESS;
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

EXPORT nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set);
EXPORT nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) {
    nvmlReturn_t result = check_session();
    if (result != NVML_SUCCESS)
        return result;
    pthread_mutex_lock(&mutex);
    bool known = valid(set);
    if (known)
        set->used = false;
    pthread_mutex_unlock(&mutex);
    return known ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

EXPORT nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t handle,
                                                     unsigned long long *types);
EXPORT nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t handle,
                                                     unsigned long long *types) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    nvmlReturn_t result = hcs_nvml_enter(handle, &scenario, &device);
    hcs_sim_scenario_release(scenario);
    if (result == NVML_SUCCESS && !types)
        result = NVML_ERROR_INVALID_ARGUMENT;
    if (result == NVML_SUCCESS)
        *types = NVML_EVENT_XID_CRITICAL_ERROR;
    return result;
}

EXPORT nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t handle, unsigned long long types,
                                             nvmlEventSet_t set);
EXPORT nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t handle, unsigned long long types,
                                             nvmlEventSet_t set) {
    const struct hcs_sim_scenario *scenario;
    const struct hcs_sim_device *device;
    nvmlReturn_t result = hcs_nvml_enter(handle, &scenario, &device);
    if (result != NVML_SUCCESS)
        return result;
    pthread_mutex_lock(&mutex);
    if (!valid(set)) {
        result = NVML_ERROR_INVALID_ARGUMENT;
    } else if (types & ~NVML_EVENT_XID_CRITICAL_ERROR) {
        result = NVML_ERROR_NOT_SUPPORTED;
    } else if (types && !set->registered[device->number]) {
        set->registered[device->number] = true;
        set->seen[device->number] = hcs_sim_last_event(scenario);
    }
    pthread_mutex_unlock(&mutex);
    hcs_sim_scenario_release(scenario);
    return result;
}

/* Take the oldest event that the set has not handed out; called with the mutex held. */
static bool take_event(nvmlEventSet_t set, const struct hcs_sim_scenario *scenario,
                       nvmlEventData_t *data) {
    for (size_t i = 0; i < scenario->event_count; i++) {
        const struct hcs_sim_event *event = &scenario->events[i];
        char *end;
        unsigned long xid = strtoul(event->code, &end, 10);
        if (!event->raised || *end || !set->registered[event->device])
            continue; /* NVML tells of no end of an Xid */
        if (event->number <= set->seen[event->device])
            continue;
        set->seen[event->device] = event->number;
        *data = (nvmlEventData_t){.device = hcs_nvml_handle(event->device),
                                  .eventType = NVML_EVENT_XID_CRITICAL_ERROR,
                                  .eventData = xid,
                                  .gpuInstanceId = NVML_NO_INSTANCE,
                                  .computeInstanceId = NVML_NO_INSTANCE};
        return true;
    }
    return false;
}

static bool any_lost(nvmlEventSet_t set, const struct hcs_sim_scenario *scenario) {
    for (size_t i = 0; i < scenario->device_count; i++)
        if (set->registered[i] && hcs_nvml_lost(&scenario->devices[i]))
            return true;
    return false;
}

static nvmlReturn_t look(nvmlEventSet_t set, const struct hcs_sim_scenario *scenario,
                         nvmlEventData_t *data) {
    nvmlReturn_t result = NVML_ERROR_TIMEOUT;
    pthread_mutex_lock(&mutex);
    if (!valid(set))
        result = NVML_ERROR_INVALID_ARGUMENT;
    else if (take_event(set, scenario, data))
        result = NVML_SUCCESS;
    else if (any_lost(set, scenario))
        result = NVML_ERROR_GPU_IS_LOST;
    pthread_mutex_unlock(&mutex);
    return result;
}

static uint64_t monotonic_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

EXPORT nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data,
                                        unsigned timeout_ms);
EXPORT nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data,
                                        unsigned timeout_ms) {
    uint64_t deadline = monotonic_ms() + timeout_ms;
    if (!data)
        return NVML_ERROR_INVALID_ARGUMENT;
    for (;;) {
        const struct hcs_sim_scenario *scenario;
        nvmlReturn_t result = hcs_nvml_acquire(&scenario);
        if (result != NVML_SUCCESS)
            return result;
        result = look(set, scenario, data);
        uint64_t now = monotonic_ms();
        if (result == NVML_ERROR_TIMEOUT && now < deadline)
            hcs_sim_scenario_wait(scenario, (unsigned)(deadline - now));
        hcs_sim_scenario_release(scenario);
        if (result != NVML_ERROR_TIMEOUT || now >= deadline)
            return result;
    }
}
