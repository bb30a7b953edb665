"""A process may call itself by its own pid, in whichever namespace, and must be of its own Pod."""

from pathlib import Path

import pytest

from hcs_agents.quota.credentials import claims_own_pid, pod_of


@pytest.mark.parametrize(
    ("status", "claimed_pid", "expected"),
    [
        ("Name:\ta\nNSpid:\t100\n", 100, True),
        ("Name:\ta\nNSpid:\t100\t1\n", 1, True),
        ("Name:\ta\nNSpid:\t100\t7\t1\n", 7, False),  # a namespace in between is not its own
        ("Name:\ta\nNSpid:\t100\n", 99, False),
        ("Name:\ta\n", 99, False),
    ],
)
def test_the_claim_is_compared_with_the_kernels_word(
    tmp_path: Path, status: str, claimed_pid: int, *, expected: bool
) -> None:
    (tmp_path / "100").mkdir()
    (tmp_path / "100" / "status").write_text(status)
    assert claims_own_pid(kernel_pid=100, claimed_pid=claimed_pid, proc=tmp_path) is expected


def test_of_a_process_that_ended_it_cannot_be_known(tmp_path: Path) -> None:
    assert claims_own_pid(kernel_pid=100, claimed_pid=1, proc=tmp_path) is None
    assert claims_own_pid(kernel_pid=100, claimed_pid=100, proc=tmp_path) is True


UID = "6f0f4f5e-35a7-5d36-9e0e-0b0c4b1a6a51"
OTHER = "11111111-35a7-5d36-9e0e-0b0c4b1a6a51"


@pytest.mark.parametrize(
    ("cgroup", "expected"),
    [
        (f"0::/kubepods/burstable/pod{UID}/abc\n", UID),
        (
            "0::/kubepods.slice/kubepods-burstable.slice/"
            f"kubepods-burstable-pod{UID.replace('-', '_')}.slice/cri-containerd-ab.scope\n",
            UID,
        ),
        (f"12:pids:/kubepods/pod{UID}/abc\n1:name=systemd:/kubepods/pod{UID}/abc\n", UID),
        (f"0::/kubepods/pod{UID}\n", UID),
        (f"0::/kubepods/besteffort/pod{UID.replace('-', '')}/abc\n", UID.replace("-", "")),
        (f"0::/kubepods/pod{UID}/abc/kubepods/pod{OTHER}/x\n", UID),  # named from inside
        (f"0::/user.slice/notpod{UID}x\n", None),
        ("0::/system.slice/containerd.service\n", None),
        ("", None),
    ],
)
def test_the_pod_stands_in_the_control_groups_path(
    tmp_path: Path, cgroup: str, expected: str | None
) -> None:
    (tmp_path / "100").mkdir()
    (tmp_path / "100" / "cgroup").write_text(cgroup)
    assert pod_of(100, proc=tmp_path) == expected
    assert pod_of(101, proc=tmp_path) is None
