"""The interceptor under the compiler's sanitizers, and that they would have said something.

Two forms: everything behind the hooks, in one program of racing threads and processes; and the
whole library, preloaded into each runtime's program. (The thread sanitizer knows only the first: it
has to be there from a program's start, and it sees one process.)
"""

import os
import re
import selectors
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hcs_agents.quota import wire
from tests.support.interceptor import (
    GPUS,
    MIB,
    POD_UID,
    PROGRAMS,
    RUNTIMES,
    SANITIZE,
    SANITIZE_THREADS,
    SOURCES,
    Rig,
    compile_c,
    make,
)

QUOTA_BYTES = 400_000
BREAKS_AFTER = 7
"""Usages after which the agent hangs up, so that processes connect anew."""

OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0",  # tables live as long as the process
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1",  # a program whose numbers were torn may never end by itself
}
FORMS = {"address": SANITIZE, "thread": SANITIZE_THREADS}


def behind_the_hooks(sources: Path) -> list[str]:
    """Return what does not depend on the vendors' libraries, or on being the first dlsym."""
    parts = sorted(sources.glob("*.c"))
    return [str(part) for part in parts if not re.match("hooks_|symbols", part.name)]


@pytest.fixture(scope="module")
def races(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile `core_race` with each sanitizer, and return where it lies."""
    out = tmp_path_factory.mktemp("races")
    program = str(PROGRAMS / "core_race.c")
    for form, options in FORMS.items():
        compile_c(out / form, program, *behind_the_hooks(SOURCES), *options)
    return out


class Agent:
    """A strict one: it reads every packet, asks for reclaims, and hangs up now and then.

    It also tells what a driver says that has nobody on its cards: so nothing is charged for it.
    """

    def __init__(self, path: Path) -> None:
        self.hellos = 0
        self.usages = 0
        self._hello: wire.Hello | None = None  # the last one: all are of one ledger
        self.errors: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._stopped, self._stop = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close everything."""
        self._stop.close()
        self._thread.join()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector, self._stopped, self._listener:
            for known in (self._stopped, self._listener):
                selector.register(known, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if self._stopped in ready:
                    break
                for source in ready:
                    assert isinstance(source, socket.socket)
                    if source is self._listener:
                        selector.register(self._listener.accept()[0], selectors.EVENT_READ)
                    elif not self._hear(source):
                        selector.unregister(source)
                        source.close()
            for key in list(selector.get_map().values()):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()

    def _hear(self, connection: socket.socket) -> bool:
        try:
            packet = connection.recv(wire.PACKET_BYTES_MAX + 1)
            if packet:
                connection.send(wire.RECLAIM_PACKET)
            if packet and self._hello is not None:
                connection.send(self._driver_packet(self._hello))
        except OSError:  # it ended
            return False
        return bool(packet) and self._understand(packet)

    def _driver_packet(self, hello: wire.Hello) -> bytes:
        return wire.driver_packet(
            epoch_ns=hello.epoch_ns,
            looked_at_ns=time.monotonic_ns(),
            used_bytes=[0] * len(hello.devices),
        )

    def _understand(self, packet: bytes) -> bool:
        try:
            message = wire.decode(packet)
        except wire.WireError as error:
            self.errors.append(str(error))
            return False
        if isinstance(message, wire.Hello):
            self.hellos += 1
            self._hello = message
            return True
        self.usages += 1
        return self.usages % BREAKS_AFTER != 0


@contextmanager
def agent_at(path: Path) -> Iterator[Agent]:
    """Serve as long as the block runs."""
    agent = Agent(path)
    try:
        yield agent
    finally:
        agent.stop()


def race(rig: Rig, program: Path, *arguments: int) -> subprocess.CompletedProcess[str]:
    """Run `core_race` beside an agent."""
    socket_path = rig.directory / "quota.sock"
    settings = {
        **OPTIONS,
        "LD_PRELOAD": "",
        "HCS_VRAM_QUOTA": str(QUOTA_BYTES),
        "HCS_DEVICES": ",".join(GPUS),
        "HCS_POD_UID": POD_UID,
        "HCS_CONTAINER": "trainer",
        "HCS_AGENT_SOCKET": str(socket_path),
    }
    with agent_at(socket_path) as agent:
        done = subprocess.run(
            [str(program), *map(str, arguments)],
            env=rig.environment(**settings),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == 0:
        assert agent.errors == []
        assert agent.hellos > 0
        assert agent.usages > 0
    return done


@pytest.mark.parametrize(
    ("form", "processes", "threads", "rounds"),
    [("thread", 1, 8, 20_000), ("address", 1, 8, 100_000), ("address", 6, 4, 20_000)],
)
def test_nothing_behind_the_hooks_races_or_strays(
    rig: Rig, races: Path, form: str, processes: int, threads: int, rounds: int
) -> None:
    done = race(rig, races / form, processes, threads, rounds)
    assert (done.returncode, done.stderr) == (0, "")
    used, refusals = (int(number) for number in done.stdout.split())
    assert used == 0
    assert refusals > 0  # the quota was reached, so also that way was gone


@pytest.mark.parametrize(
    ("form", "file", "before", "after", "report"),
    [
        pytest.param(
            "thread",
            "ledger.c",
            "    __atomic_fetch_add(word, value, __ATOMIC_SEQ_CST);",
            "    *word += value;",
            "data race",
            id="an addition that is not atomic",
        ),
        pytest.param(
            "thread",
            "blocks.c",
            "    if (!hcs_lock_at_once(&shard->lock)) {\n        return wait_and_put(",
            "    if (address == 1) {\n        return wait_and_put(",
            "data race",
            id="a lock not taken",
        ),
        pytest.param(
            "address",
            "connection.c",
            "sizeof address.sun_path - 1",
            "sizeof address.sun_path + 1",
            "stack-buffer-overflow",
            id="one byte too many",
        ),
        pytest.param(
            "address",
            "table.c",
            "size - 1, 64 - bits, size / 8 * 3",
            "size - 1, 64, size / 8 * 3",
            "shift exponent 64",
            id="a shift as wide as the word",
        ),
    ],
)
def test_a_sanitizer_says_so_when_one_does(
    rig: Rig, form: str, file: str, before: str, after: str, report: str
) -> None:
    broken = rig.directory / "c" / "interceptor"
    broken.mkdir(parents=True)
    for source in SOURCES.glob("*.[ch]"):
        (broken / source.name).write_bytes(source.read_bytes())
    text = (broken / file).read_text()
    assert before in text
    (broken / file).write_text(text.replace(before, after))
    program = rig.directory / "tests" / "c" / "programs" / "core_race.c"
    program.parent.mkdir(parents=True)
    program.write_bytes((PROGRAMS / program.name).read_bytes())
    parts = behind_the_hooks(broken)
    compile_c(rig.directory / "race", str(program), *parts, *FORMS[form], "-Wno-error")
    done = race(rig, rig.directory / "race", 1, 4, 5_000)
    assert done.returncode != 0
    assert report in done.stderr


@pytest.fixture(scope="module")
def checked_library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build the whole library with the address and undefined sanitizers: what to preload."""
    build = tmp_path_factory.mktemp("checked")
    library = build / "interceptor" / "libhcs_interceptor.so"
    make(f"BUILD={build}", f"CFLAGS=-O1 -g {' '.join(SANITIZE)}", str(library))
    runtimes = [_library_of_the_compiler(name) for name in ("libasan.so", "libubsan.so")]
    return " ".join([*runtimes, str(library)])


def _library_of_the_compiler(name: str) -> str:
    command = ["cc", f"-print-file-name={name}"]
    path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return os.path.realpath(path)


@pytest.mark.parametrize("way", ["linked", "dlsym"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_no_hook_strays(rig: Rig, checked_library: str, runtime: str, way: str) -> None:
    settings = {**OPTIONS, "LD_PRELOAD": checked_library, "HCS_VRAM_QUOTA": str(64 * MIB)}
    kinds = re.findall(r'{"(\w+)", \w+, \w+}', _header(runtime))
    assert "classic" in kinds
    with rig.run(f"{runtime}_{way}", **settings) as program:
        program.begin()
        for kind in kinds:
            program.ask(f"kind {kind}")
            result, block = program.ask(f"alloc {2 * MIB}")
            assert result == 0
            assert program.ask(f"alloc {2**64 - 1}")[0] != 0
            assert program.ask(f"free {block}") == [0]
        program.ask("kind classic")
        assert program.ask(f"fill {MIB}")[0] != 0
        assert program.ask("info")[0] == 0
        assert program.ask("errno") == [77]
        assert program.close() == 0
    assert rig.stderr() == ""


def _header(runtime: str) -> str:
    return (PROGRAMS / f"runtime_{runtime}.h").read_text()
