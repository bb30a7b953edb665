"""Programs whose habits nobody expects are left alone, and held to their quota all the same."""

import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.interceptor import (
    ACL_PADDING_BYTES,
    MIB,
    POD_UID,
    PROGRAMS,
    RUNTIMES,
    Rig,
    compile_c,
    link,
)

PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def guests(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the program, and return where it lies."""
    assert programs.is_dir()  # and with it the libraries
    out = tmp_path_factory.mktemp("guests") / "guests"
    return compile_c(out, str(PROGRAMS / "guests.c"), "-rdynamic", link("libcuda.so.1"))


@pytest.mark.parametrize("habit", ["closed", "thread_storage"])
def test_the_agent_hears_of_a_program(rig: Rig, guests: Path, habit: str) -> None:
    path = rig.directory / "quota.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as agent:
        agent.bind(str(path))
        agent.listen()
        agent.settimeout(PATIENCE_S)
        environment = rig.environment(
            HCS_VRAM_QUOTA=str(64 * MIB),
            HCS_DEVICES="any",
            HCS_POD_UID=POD_UID,
            HCS_CONTAINER="trainer",
            HCS_AGENT_SOCKET=str(path),
        )
        with subprocess.Popen([guests, habit], env=environment, stdin=subprocess.PIPE) as process:
            try:
                connection, _ = agent.accept()  # while it lives, not only with its last breath
                with connection:
                    assert connection.recv(4096)
                    assert process.stdin is not None
                    process.stdin.close()
                    assert process.wait(PATIENCE_S) == 0
            finally:
                process.kill()


def test_a_fork_during_another_threads_first_call_hangs_nobody(rig: Rig, guests: Path) -> None:
    environment = rig.environment(HCS_VRAM_QUOTA=str(64 * MIB))
    done = subprocess.run([guests, "fork"], env=environment, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0


def test_any_number_of_pools_stays_within_the_quota(rig: Rig, guests: Path) -> None:
    environment = rig.environment(HCS_VRAM_QUOTA=str(256 * MIB))
    done = subprocess.run([guests, "pools"], env=environment, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0
    assert rig.peak_bytes() <= 256 * MIB


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_executed_program_finds_its_place_whatever_its_addresses(rig: Rig, runtime: str) -> None:
    # Without random addresses the program after the exec is taken for the one before.
    alike = ("setarch", "--addr-no-randomize")
    quota = {"HCS_VRAM_QUOTA": str(64 * MIB), "HCS_DEVICES": "any"}
    with (
        rig.run(f"{runtime}_linked", **quota) as before,
        rig.run(f"{runtime}_linked", behind=alike, **quota) as program,
    ):
        assert before.begin().ask(f"alloc {32 * MIB - ACL_PADDING_BYTES}")[0] == 0
        assert program.ask("exec") == [0]  # from now on all of them begin alike
        assert program.begin().ask(f"alloc {16 * MIB - ACL_PADDING_BYTES}")[0] == 0
        before.kill()
        deadline = time.monotonic() + PATIENCE_S
        while rig.account()["used"] > 16 * MIB:  # its place is free for whoever comes next
            assert program.ask("info")[0] == 0
            assert time.monotonic() < deadline
        assert program.ask("exec") == [0]
        assert program.begin().ask("alloc 1")[0] == 0
        assert 0 < rig.account()["used"] <= MIB
