"""A container engine for tests: the one at hand, or a dockerd of the test run's own.

An engine at hand is one that `DOCKER_HOST`, the current docker context or the default socket
reaches. Where there is none, root starts a dockerd in process and mount namespaces of its own: when
the test run ends, even by SIGKILL, so does the namespace's first process, which is dockerd, and the
kernel takes every container, shim and mount in there along. It makes no bridge and no firewall
rule: the servers in the containers listen on the machine's own loopback, as the ones outside do.

`python -m tests.support.containers_engine` makes sure beforehand that a test run will find an
engine, and installs Debian's where root may.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker.errors
from testcontainers.core.docker_client import DockerClient, get_docker_host

DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
CONTROL_GROUPS = Path("/sys/fs/cgroup")
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.05
ADVICE = (
    "Start one that DOCKER_HOST or the default socket reaches, or run as root where dockerd is "
    "installed or apt-get can install it (docker.io). `make test BACKENDS=wheels` goes without."
)


class NoEngineError(Exception):
    """There is no container engine, and none can be had; the message says what to do."""


def ensure() -> None:
    """Make sure that `running_engine` will find an engine; install Debian's where root may.

    Raises:
        NoEngineError: there is none that would do.
    """
    if _is_at_hand() or _own_dockerd() is not None:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise NoEngineError(f"no container engine for the tests. {ADVICE}")
    sys.stdout.write("installing a container engine for the tests (docker.io) ...\n")
    sys.stdout.flush()
    _apt_get("update")
    _apt_get("install", "--yes", "--no-install-recommends", "docker.io")
    if not _is_at_hand() and _own_dockerd() is None:
        raise NoEngineError(f"docker.io brought no dockerd. {ADVICE}")


@contextmanager
def running_engine() -> Iterator[None]:
    """Make an engine reachable for `testcontainers`, which goes by `DOCKER_HOST`.

    Raises:
        NoEngineError: there is none, or it does not start.
    """
    if _is_at_hand():
        yield
        return
    dockerd = _own_dockerd()
    if dockerd is None:
        raise NoEngineError(f"no container engine for the tests. {ADVICE}")
    # A short path: the sockets below it have to fit into a sockaddr_un.
    root = Path(tempfile.mkdtemp(prefix="hcs-engine-"))
    try:
        with _running(dockerd, root):
            os.environ["DOCKER_HOST"] = _address(root)
            try:
                yield
            finally:
                del os.environ["DOCKER_HOST"]
    finally:
        shutil.rmtree(root)


def _is_at_hand() -> bool:
    """Return whether an engine answers.

    Raises:
        NoEngineError: it answers, but its containers could not listen on our loopback.
    """
    if not _listens(get_docker_host() or DEFAULT_ADDRESS):
        return False
    try:
        client = DockerClient().client
        options = client.info()["SecurityOptions"]
        client.close()
    except docker.errors.DockerException:
        return False
    if "name=rootless" in options:
        raise NoEngineError(
            "the container engine is rootless: what listens in its containers is not reachable on "
            f"this machine's loopback. {ADVICE}"
        )
    return True


def _listens(address: str) -> bool:
    """Return whether a Unix socket has a listener; the client would leak one that has none."""
    scheme, _, path = address.partition("://")
    if scheme != "unix":
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def _own_dockerd() -> str | None:
    return shutil.which("dockerd") if os.geteuid() == 0 else None


def _apt_get(*arguments: str) -> None:
    done = subprocess.run(
        ["apt-get", "-qq", *arguments],
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise NoEngineError(f"apt-get {' '.join(arguments)}:\n{done.stderr.strip()}\n{ADVICE}")


@contextmanager
def _running(dockerd: str, root: Path) -> Iterator[None]:
    log = root / "log"
    configuration = root / "daemon.json"
    configuration.write_text("{}")  # not the machine's own, which may contradict the arguments
    command = ["setpriv", "--pdeathsig=KILL"]
    command += ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
    command += [dockerd, "--host", _address(root), "--config-file", str(configuration)]
    command += ["--data-root", str(root / "data"), "--exec-root", str(root / "exec")]
    command += ["--pidfile", str(root / "pid"), "--bridge=none", "--userland-proxy=false"]
    command += ["--iptables=false", "--ip-forward=false", "--ip-masq=false"]
    command += ["--exec-opt=native.cgroupdriver=cgroupfs", f"--cgroup-parent=/{root.name}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # an interrupted test run stops its containers first
        )
    try:
        _await_socket(process, root)
        yield
    finally:
        _stop(process)
        for pattern in (root.name, f"*/{root.name}"):  # version 2 has one tree, version 1 several
            for group in CONTROL_GROUPS.glob(pattern):
                group.rmdir()


def _await_socket(process: "subprocess.Popen[bytes]", root: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not (root / "socket").exists():  # dockerd opens it when it is ready
        if process.poll() is not None or time.monotonic() > deadline:
            last = (root / "log").read_text().splitlines()[-15:]
            raise NoEngineError("\n".join(["dockerd does not start:", *last, ADVICE]))
        time.sleep(POLL_S)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Let dockerd end in order; `unshare` ends when nothing of its namespace is left."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if process.poll() is None:
        for child in children.read_text().split():
            os.kill(int(child), signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _address(root: Path) -> str:
    return f"unix://{root / 'socket'}"


def main() -> None:
    """Make sure that there is an engine, or say what to do."""
    try:
        ensure()
    except NoEngineError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
