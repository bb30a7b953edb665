"""Drivers that say what cannot be: their cards are told of all the same, in readable events.

Each library here answers what the detector needs to know a card, and fills everything else with one
byte: all ones is "not available", not a number or minus one, 0x7f is a number beyond all reason.
"""

import subprocess
from pathlib import Path

import msgspec
import pytest

from hcs_bus.events import Fingerprint, Samples
from hcs_bus.names import Vendor
from tests.support.simulated import LIBRARIES, DetectorProcess, environment

HEAD = """
#include <stdint.h>
#include <string.h>
#define ABSURD(name, argument, bytes) \\
    int name(void *a, void *b, void *c, void *d, void *e) { \\
        void *all[] = {a, b, c, d, e}; \\
        memset(all[argument], FILL, bytes); \\
        return 0; \\
    }
"""
NVIDIA = """
static int card;
int nvmlInitWithFlags(unsigned f) { return (int)f; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int e) { (void)e; return "error"; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) { *h = &card; return (int)i; }
int nvmlDeviceGetUUID(void *h, char *v, unsigned n) { (void)h; (void)n; strcpy(v, "id"); return 0; }
int nvmlEventSetCreate(void **set) { *set = &card; return 0; }
int nvmlEventSetFree(void *set) { (void)set; return 0; }
int nvmlDeviceRegisterEvents(void *h, unsigned long long t, void *set) {
    (void)h; (void)t; (void)set; return 3; }
int nvmlDeviceGetComputeRunningProcesses_v3(void *h, unsigned *n, void *out) {
    (void)h;
    if (!*n) { *n = 1; return 7; }
    *n = 1; memset(out, FILL, 24); return 0;
}
ABSURD(nvmlSystemGetDriverVersion, 0, 80) ABSURD(nvmlSystemGetNVMLVersion, 0, 80)
ABSURD(nvmlSystemGetCudaDriverVersion_v2, 0, 4) ABSURD(nvmlDeviceGetName, 1, 96)
ABSURD(nvmlDeviceGetSerial, 1, 30) ABSURD(nvmlDeviceGetVbiosVersion, 1, 32)
ABSURD(nvmlDeviceGetPciInfo_v3, 1, 68) ABSURD(nvmlDeviceGetMemoryInfo, 1, 24)
ABSURD(nvmlDeviceGetMaxPcieLinkGeneration, 1, 4) ABSURD(nvmlDeviceGetMaxPcieLinkWidth, 1, 4)
ABSURD(nvmlDeviceGetMaxClockInfo, 2, 4) ABSURD(nvmlDeviceGetMemoryBusWidth, 1, 4)
ABSURD(nvmlDeviceGetNumGpuCores, 1, 4) ABSURD(nvmlDeviceGetCpuAffinity, 2, 1024)
ABSURD(nvmlDeviceGetPowerUsage, 1, 4) ABSURD(nvmlDeviceGetUtilizationRates, 1, 8)
ABSURD(nvmlDeviceGetTemperature, 2, 4) ABSURD(nvmlDeviceGetClockInfo, 2, 4)
ABSURD(nvmlDeviceGetCurrPcieLinkGeneration, 1, 4) ABSURD(nvmlDeviceGetCurrPcieLinkWidth, 1, 4)
int nvmlDeviceGetFieldValues(void *h, int n, char *out) {
    (void)h;
    for (int i = 0; i < n; i++, out += 40) {
        *(int *)(out + 24) = 3; *(int *)(out + 28) = 0; memset(out + 32, FILL, 8); }
    return 0;
}
"""
HUAWEI = """
int dcmi_init(void) { return 0; }
int dcmi_get_card_list(int *n, int *list, int length) { *n = length > 0; list[0] = 0; return 0; }
int dcmi_get_device_id_in_card(int card, int *max, int *mcu, int *cpu) {
    *max = card == 0; *mcu = *cpu = -1; return 0; }
int dcmi_get_device_elabel_info(int card, int device, char *out) {
    (void)card; (void)device; strcpy(out + 1024, "id"); return 0; }
int dcmi_get_device_resource_info(int card, int device, void *out, int *n) {
    (void)card; (void)device; memset(out, FILL, 32 * 16); memset(n, FILL, 4); return 0; }
ABSURD(dcmi_get_driver_version, 0, 256) ABSURD(dcmi_get_dcmi_version, 0, 256)
ABSURD(dcmi_get_device_chip_info_v2, 2, 132) ABSURD(dcmi_get_device_pcie_info_v2, 2, 64)
ABSURD(dcmi_get_device_hbm_info, 2, 32) ABSURD(dcmi_get_affinity_cpu_info_by_device_id, 2, 256)
ABSURD(dcmi_get_device_component_static_version, 3, 256)
ABSURD(dcmi_get_device_temperature, 2, 4) ABSURD(dcmi_get_device_power_info, 2, 4)
ABSURD(dcmi_get_device_utilization_rate, 3, 4) ABSURD(dcmi_get_device_frequency, 3, 4)
"""
HYGON = """
int rsmi_init(uint64_t flags) { return (int)flags; }
int rsmi_shut_down(void) { return 0; }
int rsmi_num_monitor_devices(uint32_t *n) { *n = 1; return 0; }
int rsmi_dev_vendor_id_get(uint32_t i, uint16_t *id) { *id = 0x1d94; return (int)i; }
int rsmi_dev_unique_id_get(uint32_t i, uint64_t *id) { *id = 0xabc; return (int)i; }
int rsmi_compute_process_info_get(void *out, uint32_t *n) {
    memset(out, FILL, 32); *n = 1; return 0; }
ABSURD(rsmi_compute_process_info_by_device_get, 2, 32)
ABSURD(rsmi_dev_name_get, 1, 254) ABSURD(rsmi_version_str_get, 1, 254)
ABSURD(rsmi_dev_serial_number_get, 1, 254) ABSURD(rsmi_dev_vbios_version_get, 1, 254)
ABSURD(rsmi_version_get, 0, 24) ABSURD(rsmi_dev_id_get, 1, 2) ABSURD(rsmi_dev_pci_id_get, 1, 8)
ABSURD(rsmi_topo_numa_affinity_get, 1, 4) ABSURD(rsmi_dev_memory_total_get, 2, 8)
ABSURD(rsmi_dev_memory_usage_get, 2, 8) ABSURD(rsmi_dev_gpu_metrics_info_get, 1, 96)
ABSURD(rsmi_dev_busy_percent_get, 1, 4) ABSURD(rsmi_dev_memory_busy_percent_get, 1, 4)
ABSURD(rsmi_dev_power_ave_get, 2, 8) ABSURD(rsmi_dev_temp_metric_get, 3, 8)
ABSURD(rsmi_dev_gpu_clk_freq_get, 2, 264) ABSURD(rsmi_dev_pci_bandwidth_get, 1, 392)
ABSURD(rsmi_dev_pci_replay_counter_get, 1, 8) ABSURD(rsmi_dev_ecc_count_get, 2, 64)
"""
CAMBRICON = """
int cndevInit(int reserved) { return reserved; }
int cndevRelease(void) { return 0; }
int cndevGetDeviceCount(int *out) { out[1] = 1; return 0; }
int cndevGetUUID(char *out, int h) { strcpy(out + 4, "id"); return h; }
int cndevGetCardHealthState(int *out, int h) { out[1] = out[2] = 1; out[3] = 4; return h; }
int cndevGetProcessInfo(uint32_t *n, void *out, int h) { memset(out, FILL, 24); *n = 1; return h; }
int cndevGetMLULinkPortNumber(int h) { int n; (void)h; memset(&n, FILL, 4); return n; }
ABSURD(cndevGetMemoryUsageV2, 0, 176) ABSURD(cndevGetVersionInfo, 0, 28)
ABSURD(cndevGetLibVersion, 0, 16) ABSURD(cndevGetCardSN, 0, 24) ABSURD(cndevGetCoreCount, 0, 8)
ABSURD(cndevGetMaxPCIInfo, 0, 12) ABSURD(cndevGetCurrentPCIInfo, 0, 12)
ABSURD(cndevGetNUMANodeIdByDevId, 0, 8) ABSURD(cndevGetDeviceAffinity, 0, 4104)
ABSURD(cndevGetPCIeInfoV2, 0, 64) ABSURD(cndevGetDeviceUtilizationInfo, 0, 328)
ABSURD(cndevGetDevicePowerInfo, 0, 84) ABSURD(cndevGetTemperatureInfo, 0, 148)
ABSURD(cndevGetFrequencyInfo, 0, 68) ABSURD(cndevGetDDRInfo, 0, 16)
"""
MTHREADS = """
static int object;
int mtmlLibraryInit(void **out) { *out = &object; return 0; }
int mtmlLibraryShutDown(void *library) { (void)library; return 0; }
int mtmlLibraryCountDevice(void *library, unsigned *n) { (void)library; *n = 1; return 0; }
int mtmlLibraryInitDeviceByIndex(void *library, unsigned i, void **out) {
    (void)library; *out = &object; return (int)i; }
int mtmlDeviceInitMemory(void *device, void **out) { *out = device; return 0; }
int mtmlDeviceInitGpu(void *device, void **out) { *out = device; return 0; }
int mtmlDeviceGetUUID(void *d, char *out, unsigned n) {
    (void)d; (void)n; strcpy(out, "id"); return 0; }
ABSURD(mtmlMemoryGetTotal, 1, 8) ABSURD(mtmlMemoryGetUsed, 1, 8) ABSURD(mtmlDeviceGetName, 1, 32)
ABSURD(mtmlDeviceGetPciInfo, 1, 104) ABSURD(mtmlDeviceGetPowerUsage, 1, 4)
ABSURD(mtmlGpuGetUtilization, 1, 4) ABSURD(mtmlGpuGetTemperature, 1, 4)
ABSURD(mtmlGpuGetClock, 1, 4) ABSURD(mtmlMemoryGetClock, 1, 4)
ABSURD(mtmlMemoryGetUtilization, 1, 4) ABSURD(mtmlDeviceGetMtBiosVersion, 1, 64)
ABSURD(mtmlMemoryGetBandwidth, 1, 4)
ABSURD(mtmlDeviceGetSerialNumber, 2, 64) ABSURD(mtmlLibraryGetVersion, 1, 32)
ABSURD(mtmlDeviceGetCpuAffinityWithinNode, 2, 1024) ABSURD(mtmlDeviceGetMtLinkSpec, 1, 28)
"""
SOURCES = {
    Vendor.NVIDIA: (NVIDIA, "id"),
    Vendor.HUAWEI: (HUAWEI, "id"),
    Vendor.HYGON: (HYGON, "0000000000000abc"),
    Vendor.CAMBRICON: (CAMBRICON, "MLU-id"),
    Vendor.MTHREADS: (MTHREADS, "id"),
}


@pytest.fixture(params=["0xff", "0x7f"])
def fill(request: pytest.FixtureRequest) -> str:
    """Return the byte that everything is filled with."""
    return str(request.param)


@pytest.mark.parametrize("vendor", list(Vendor))
def test_nothing_that_a_driver_says_makes_an_event_unreadable(
    vendor: Vendor, fill: str, tmp_path: Path
) -> None:
    source, card = SOURCES[vendor]
    (tmp_path / "absurd.c").write_text(HEAD + source)
    library = str(tmp_path / LIBRARIES[vendor])
    command = ["cc", "-shared", "-fPIC", f"-DFILL={fill}", "-o", library]
    subprocess.run([*command, str(tmp_path / "absurd.c")], check=True)
    with DetectorProcess(vendor, environment(tmp_path, None)) as detector:
        (device,) = detector.scan()
        (reading,) = detector.sample()
        assert detector.processes() == []
    assert device.device_id == card
    assert (device.vram_bytes, device.pcie_generation_max, device.pcie_width_max) == (0, 0, 0)
    assert device.memory_bandwidth_gbytes_s == 0
    told = {
        name: value
        for name, value in msgspec.structs.asdict(reading.sample).items()
        if value not in (None, (), 0) and name != "device_id"
    }
    told.pop("throttle_reasons", None)  # any bits mean something
    assert set(told.values()) <= {-1, -0.001}, "a temperature that can be, and all ones"
    assert reading.sample.device_id == card
    assert set(msgspec.structs.asdict(reading.counters).values()) <= {None, 2**32 - 1, 0x7F7F7F7F}
    fingerprint = Fingerprint(at_ns=1, agent_version="1", detectors=(), devices=(device,))
    samples = Samples(at_ns=1, interval_s=1, devices=(reading.sample,))
    for event in (fingerprint, samples):
        assert msgspec.json.decode(msgspec.json.encode(event), type=type(event)) == event
