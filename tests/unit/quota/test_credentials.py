"""A process may call itself by the pid that the kernel knows, or by that of its own namespace."""

from pathlib import Path

import pytest

from hcs_agents.quota.credentials import claims_own_pid


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
