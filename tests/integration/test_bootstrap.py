"""What `make` needs and does not find is said in one line, before anything else is tried."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "cat", "dirname", "flock", "sha256sum")  # of every Linux
MAY_INSTALL = os.geteuid() == 0 and shutil.which("apt-get") is not None
DESCRIPTIONS = ("requirements.lock", "pyproject.toml")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a checkout with nothing built, and a PATH (`bin`) of its own with next to nothing."""
    (tmp_path / "deploy" / "local").mkdir(parents=True)
    for name in (*DESCRIPTIONS, "deploy/local/bootstrap.sh"):
        shutil.copy(CHECKOUT / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    _add_to_path(tmp_path, *TOOLS)
    return tmp_path


def _add_to_path(copy: Path, *programs: str) -> None:
    for name in programs:
        found = shutil.which(name)
        assert found is not None
        (copy / "bin" / name).symlink_to(found)


def _install_wheels(copy: Path) -> None:
    """Leave the mark that the Python packages are there."""
    wanted = b"".join((copy / name).read_bytes() for name in DESCRIPTIONS) + f"{copy}\n".encode()
    (copy / ".venv").mkdir()
    stamp = f"{hashlib.sha256(wanted).hexdigest()}  -\n"
    (copy / ".venv" / ".hcs-installed").write_text(stamp)


def _apt_get_without_sources(copy: Path) -> dict[str, str]:
    """Put apt-get on the PATH; return the environment in which it finds no package."""
    _add_to_path(copy, "apt-get")
    lists = copy / "apt"
    (lists / "lists" / "partial").mkdir(parents=True)
    (copy / "apt.conf").write_text(f'Dir::Etc "{lists}"; Dir::State "{lists}";\n')
    return {"APT_CONFIG": str(copy / "apt.conf")}


def _last_words(copy: Path, **environment: str) -> str:
    """Run the bootstrap, which fails; return the last line that it says."""
    done = subprocess.run(
        [copy / "bin" / "bash", copy / "deploy" / "local" / "bootstrap.sh"],
        env={"PATH": str(copy / "bin"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr.splitlines()[-1]


def test_no_python(copy: Path) -> None:
    said = _last_words(copy)
    assert said.startswith("error: no Python 3.11 or newer on PATH")
    assert "make up PYTHON=/path/to/python" in said


def test_no_compiler_and_no_way_to_install_one(copy: Path) -> None:
    _install_wheels(copy)
    assert _last_words(copy).startswith("error: no C compiler (cc) or no make: install gcc")


def test_a_compiler_that_was_asked_for_by_name_is_not_replaced_by_another(copy: Path) -> None:
    _install_wheels(copy)
    _add_to_path(copy, "cc", "make")
    environment = _apt_get_without_sources(copy) if MAY_INSTALL else {}
    said = _last_words(copy, CC="tcc-of-mine", **environment)
    assert said.startswith("error: no C compiler (tcc-of-mine)")


def test_a_compiler_that_only_root_tries_to_install(copy: Path) -> None:
    _install_wheels(copy)
    environment = _apt_get_without_sources(copy) if MAY_INSTALL else {}
    said = _last_words(copy, **environment)
    expected = "apt-get installs no gcc" if MAY_INSTALL else "no C compiler (cc) or no make"
    assert said.startswith(f"error: {expected}")
