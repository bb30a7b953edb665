"""However a program finds the runtime's functions, and whenever it calls them: the quota holds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.interceptor import (
    CHECKOUT,
    CUDA_OUT_OF_MEMORY,
    INTERCEPTOR,
    MIB,
    PROGRAMS,
    SIMULATED,
    Rig,
    build_libraries,
    compile_c,
    link,
)

QUOTA_BYTES = 4 * MIB
MODES = {
    "now": os.RTLD_NOW,
    "deepbind": os.RTLD_NOW | os.RTLD_DEEPBIND,
    "lazy_deepbind": os.RTLD_LAZY | os.RTLD_DEEPBIND,
}
OWN_RESULT = 4711
HIP_OUT_OF_MEMORY = 2
HOOKS = (CHECKOUT / "tests" / "golden" / "interceptor_exports.txt").read_text().split()
ODD_MOMENTS = ["early", "plain", "closed", "thread", "signal", "exit", "late"]


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the programs of this module, and return where they lie."""
    build_libraries()
    out = tmp_path_factory.mktemp("plugins")
    (out / "libs").mkdir()
    compile_c(out / "opens", str(PROGRAMS / "opens.c"))
    shared = ("-shared", "-fPIC", str(PROGRAMS / "plugin.c"))
    for name, options in {
        "plugin.so": (),
        "sealed.so": ("-Wl,-z,relro,-z,now",),
        "own.so": ("-DOWN",),
        "libs/libbeside.so": (),
        "libs/sibling.so": ("-DSIBLING=0", "-Wl,-rpath,$ORIGIN"),
        "libs/deep_sibling.so": ("-DSIBLING=RTLD_DEEPBIND", "-Wl,-rpath,$ORIGIN"),
    }.items():
        compile_c(out / name, *shared, *options, link("libcuda.so.1"))
    compile_c(out / "versioned", str(PROGRAMS / "versioned.c"))
    odd = str(PROGRAMS / "odd_moments.c")
    compile_c(out / "libodd.so", "-shared", "-fPIC", "-DLIBRARY", odd, link("libcuda.so.1"))
    beside = ("-Wl,--no-as-needed", str(out / "libodd.so"), f"-Wl,-rpath,{out}:{SIMULATED}")
    compile_c(out / "odd_moments", odd, *beside)
    return out


def allocate(rig: Rig, plugins: Path, library: str, mode: str, way: str, size: int) -> int:
    """Let a plugin allocate, opened in that mode; return its result."""
    done = subprocess.run(
        [str(plugins / "opens"), str(plugins / library), str(MODES[mode]), way, str(size)],
        env=rig.environment(HCS_VRAM_QUOTA=str(QUOTA_BYTES)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("way", ["linked", "symbol"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("library", ["plugin.so", "sealed.so", "libs/sibling.so"])
def test_a_plugin_is_held_to_the_quota(
    rig: Rig, plugins: Path, library: str, mode: str, way: str
) -> None:
    assert allocate(rig, plugins, library, mode, way, QUOTA_BYTES) == 0
    more = QUOTA_BYTES + 1
    assert allocate(rig, plugins, library, mode, way, more) == CUDA_OUT_OF_MEMORY
    assert rig.peak_bytes() == QUOTA_BYTES


def test_a_library_beside_its_caller_is_found_and_held(rig: Rig, plugins: Path) -> None:
    more = QUOTA_BYTES + 1
    for way in ("linked", "symbol"):
        sibling = "libs/deep_sibling.so"
        assert allocate(rig, plugins, sibling, "now", way, QUOTA_BYTES) == 0
        assert allocate(rig, plugins, sibling, "now", way, more) == CUDA_OUT_OF_MEMORY


@pytest.mark.parametrize("mode", ["deepbind", "lazy_deepbind"])
def test_what_a_plugin_has_itself_it_keeps(rig: Rig, plugins: Path, mode: str) -> None:
    assert allocate(rig, plugins, "own.so", mode, "linked", 2 * QUOTA_BYTES) == OWN_RESULT


@pytest.mark.parametrize(
    ("size", "result"), [(QUOTA_BYTES, 0), (QUOTA_BYTES + 1, HIP_OUT_OF_MEMORY)]
)
def test_a_lookup_of_a_version_is_held_to_the_quota(
    rig: Rig, plugins: Path, size: int, result: int
) -> None:
    done = subprocess.run(
        [str(plugins / "versioned"), str(size)],
        env=rig.environment(HCS_VRAM_QUOTA=str(QUOTA_BYTES)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{result}\n", "")


PROBE = """
import ctypes, os, sys
_, way, opened, *names = sys.argv
if opened != "-":
    ctypes.CDLL(opened, os.RTLD_NOW | os.RTLD_GLOBAL)
itself = ctypes.CDLL(None)
itself.dlvsym.restype = ctypes.c_void_p
default = ctypes.c_void_p(None)
for name in names:
    found = itself.dlvsym(default, name.encode(), b"hip_4.2") if way == "version" else (
        hasattr(itself, name)
    )
    sys.stdout.write(name + "\\n" if found else "")
"""
"""Says which names there are in the whole process."""


def there(rig: Rig, way: str, opened: str, names: list[str], **settings: str) -> list[str]:
    """Return which of the names a program finds."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROBE, way, opened, *names],
        env=rig.environment(**settings),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize("way", ["name", "version"])
def test_what_no_library_has_is_not_there(rig: Rig, way: str) -> None:
    names = [name for name in HOOKS if not name.startswith("dl")]
    assert there(rig, way, "-", names, HCS_VRAM_QUOTA=str(QUOTA_BYTES)) == []
    assert there(rig, way, "-", names) == []
    of_hip = there(rig, way, "libamdhip64.so", names, HCS_VRAM_QUOTA=str(QUOTA_BYTES))
    assert of_hip == there(rig, way, "libamdhip64.so", names, LD_PRELOAD="")
    assert "hipMalloc" in of_hip


def test_what_a_library_of_an_unknown_name_has_is_there(rig: Rig, tmp_path: Path) -> None:
    copy = tmp_path / "libamdhip64.so.99"
    source = tmp_path / "newer.c"
    source.write_text("int hipMalloc(void) { return 0; }")
    compile_c(copy, "-shared", "-fPIC", f"-Wl,-soname,{copy.name}", str(source))
    assert there(rig, "name", str(copy), ["hipMalloc", "hipFree"]) == ["hipMalloc"]


def test_without_a_quota_nothing_is_bound_anew(rig: Rig, plugins: Path) -> None:
    done = subprocess.run(
        [str(plugins / "opens"), str(plugins / "plugin.so"), str(MODES["deepbind"]), "linked", "1"],
        env=rig.environment(),
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"0\n"
    assert not rig.ledger.exists()


@pytest.mark.parametrize(
    ("size", "result"), [(QUOTA_BYTES, 0), (QUOTA_BYTES + 1, CUDA_OUT_OF_MEMORY)]
)
def test_the_quota_holds_at_odd_moments(rig: Rig, plugins: Path, size: int, result: int) -> None:
    done = subprocess.run(
        [str(plugins / "odd_moments"), str(INTERCEPTOR)],
        env=rig.environment(HCS_VRAM_QUOTA=str(QUOTA_BYTES), BYTES=str(size)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{moment} {result}" for moment in ODD_MOMENTS]
