"""What the NVML adapter does when NVML fails in the middle of a call."""

import pynvml
import pytest

from hcs_agents.detectors.nvidia import NvidiaDetector
from hcs_agents.detectors.port import LibraryBrokenError
from hcs_bus.names import DeviceId


def test_what_was_heard_before_nvml_failed_is_told_before_the_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    detector = NvidiaDetector()
    heard = ["79"]

    def hear_and_fail(_timeout_s: float) -> None:
        for code in heard:
            detector._raise(DeviceId("GPU-1"), code)
        heard.clear()
        raise pynvml.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)

    monkeypatch.setattr(detector, "_hear_and_look", hear_and_fail)
    assert [signal.code for signal in detector.wait_faults(0.0)] == ["79"]
    with pytest.raises(LibraryBrokenError):
        detector.wait_faults(0.0)
