"""Where a local cluster keeps everything: one directory, `HCS_HOME`, and nothing outside of it."""

import os
from dataclasses import dataclass
from pathlib import Path


def cache_dir() -> Path:
    """Return the directory of built programs, shared by all local clusters and keyed by version."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "hcs"


@dataclass(frozen=True)
class Home:
    """The paths below one `HCS_HOME`."""

    root: Path

    @classmethod
    def from_environment(cls) -> "Home":
        """Return `$HCS_HOME`, or the default below the user's cache directory."""
        configured = os.environ.get("HCS_HOME")
        return cls(Path(configured).absolute() if configured else cache_dir() / "home")

    @property
    def lock(self) -> Path:
        """Held while `hcs up` or `hcs down` changes the cluster."""
        return self.root / "lock"

    @property
    def run(self) -> Path:
        """One JSON file per running process: its id, start time and command."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.root / "logs"

    @property
    def scenarios(self) -> Path:
        """One scenario file per simulated node: `<node>.ini`."""
        return self.root / "scenarios"

    @property
    def pki(self) -> Path:
        """The cluster's own certificate authority, certificates and keys."""
        return self.root / "pki"

    @property
    def spool(self) -> Path:
        """One spool directory per agent."""
        return self.root / "spool"

    @property
    def sockets(self) -> Path:
        """One quota socket per agent: `<node>.sock`."""
        return self.root / "sockets"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.root / "kubeconfig"

    @property
    def connection(self) -> Path:
        """How to reach the running cluster; see `hcs_edge.local.connection`."""
        return self.root / "connection.json"

    @property
    def passwords(self) -> Path:
        """The passwords of the bus's and the database's users."""
        return self.root / "passwords.json"

    @property
    def nats(self) -> Path:
        """The bus: its configuration and its streams; belongs to the account it runs as."""
        return self.root / "nats"

    @property
    def postgres(self) -> Path:
        """The database; belongs to the account it runs as."""
        return self.root / "postgres"

    @property
    def etcd(self) -> Path:
        """The Kubernetes objects."""
        return self.root / "etcd"

    @property
    def kubernetes(self) -> Path:
        """The programs' own kubeconfigs and the scheduler's configuration."""
        return self.root / "kubernetes"

    @property
    def contents(self) -> list[Path]:
        """Everything that `hcs down --purge` removes; the lock stays, since it is held then."""
        return [
            self.run,
            self.logs,
            self.scenarios,
            self.pki,
            self.spool,
            self.sockets,
            self.kubeconfig,
            self.connection,
            self.passwords,
            self.nats,
            self.postgres,
            self.etcd,
            self.kubernetes,
        ]
