"""The shipped tables: hardware profiles and fault catalogues."""

import pytest

from hcs_agents.fault_catalogue import LOST, Recovery, catalogue, describe
from hcs_agents.hardware import profile_of, profiles
from hcs_agents.simulation.fleet import default_fleet
from hcs_bus.events import Fault, FaultState
from hcs_bus.names import DeviceId, Severity, Vendor
from hcs_control.policy import load_policy


def test_every_row_of_the_hardware_table_can_be_read() -> None:
    assert all(row.vram_gib > 0 and row.fp16_gflops > 0 for row in profiles().values())


def test_the_reported_name_leads_to_the_model() -> None:
    profile = profile_of(Vendor.NVIDIA, "NVIDIA A100-SXM4-80GB")
    assert (profile.model, profile.vram_bytes) == ("A100 SXM4 80GB", 85_899_345_920)
    assert (profile.fp16_gflops, profile.fp32_gflops) == (312_000, 19_500)


def test_an_unknown_card_is_known_by_its_name_alone() -> None:
    profile = profile_of(Vendor.NVIDIA, "NVIDIA B9000")
    assert (profile.model, profile.fp16_gflops) == ("NVIDIA B9000", 0)


def test_every_simulated_card_is_in_the_hardware_table() -> None:
    for scenario in default_fleet():
        for device in scenario.devices:
            assert (device.vendor, device.model) in profiles()


@pytest.mark.parametrize(
    ("vendor", "code", "severity"),
    [
        (Vendor.NVIDIA, "79", Severity.FATAL),
        (Vendor.NVIDIA, "48", Severity.FATAL),
        (Vendor.NVIDIA, "31", Severity.WARNING),
        (Vendor.NVIDIA, "63", Severity.INFO),
        (Vendor.HUAWEI, "80E18402", Severity.FATAL),
        (Vendor.HUAWEI, "80E01801", Severity.WARNING),
        (Vendor.HUAWEI, "80DE0207", Severity.DEGRADED),
        (Vendor.NVIDIA, LOST, Severity.FATAL),
        (Vendor.HUAWEI, LOST, Severity.FATAL),
        (Vendor.HYGON, "UMC_UE", Severity.FATAL),
        (Vendor.HYGON, "FUSE_UE", Severity.WARNING),
        (Vendor.HYGON, LOST, Severity.FATAL),
        (Vendor.CAMBRICON, "CNDEV_FR_DBE_VIOLATION", Severity.FATAL),
        (Vendor.CAMBRICON, "CNDEV_FR_TEMP_VIOLATION", Severity.WARNING),
        (Vendor.CAMBRICON, LOST, Severity.FATAL),
        (Vendor.MTHREADS, "ECC_UNCORRECTED", Severity.FATAL),
        (Vendor.MTHREADS, "ECC_CORRECTED", Severity.INFO),
        (Vendor.MTHREADS, LOST, Severity.FATAL),
    ],
)
def test_the_catalogue_rates_a_code(vendor: Vendor, code: str, severity: Severity) -> None:
    assert describe(vendor, code).severity is severity


def test_xid_79_needs_a_reboot_and_48_a_reset() -> None:
    assert describe(Vendor.NVIDIA, "79").recovery is Recovery.REBOOT
    assert describe(Vendor.NVIDIA, "48").recovery is Recovery.RESET


def test_every_code_has_a_name() -> None:
    for vendor in Vendor:
        assert all(describe(vendor, code).name for code in catalogue(vendor))


def test_an_unknown_code_is_a_warning_with_a_name() -> None:
    known = describe(Vendor.HUAWEI, "12345678")
    assert (known.name, known.severity) == ("DCMI event 12345678", Severity.WARNING)


@pytest.mark.parametrize("vendor", [Vendor.HYGON, Vendor.CAMBRICON, Vendor.MTHREADS])
def test_the_default_policy_isolates_for_every_fatal_code(vendor: Vendor) -> None:
    policy = load_policy()
    isolating = set()
    for code in catalogue(vendor):
        description = describe(vendor, code)
        fault = Fault(
            at_ns=1,
            device_id=DeviceId("card-0"),
            vendor=vendor,
            code=code,
            name=description.name,
            severity=description.severity,
            state=FaultState.RAISED,
        )
        if policy.rule_for(fault) is not None:
            isolating.add(code)
    fatal = {code for code, row in catalogue(vendor).items() if row.severity is Severity.FATAL}
    assert isolating == fatal
    assert LOST in fatal
