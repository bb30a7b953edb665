"""Style as a test: what no linter of ours checks, with what to write instead.

Each rule is a function from a file's text to complaints, and is tried on a bad sample before it is
trusted with the checkout. Limits: functions 70 lines, lines 100, files 600.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from hcs_edge.cli.main import COMMANDS

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGES = ("hcs_bus", "hcs_agents", "hcs_control", "hcs_edge")
IN_PACKAGES = tuple(f"{package}/" for package in PACKAGES)

FUNCTION_LINES_MAX = 70
LINE_LENGTH_MAX = 100
FILE_LINES_MAX = 600

SOURCE_SUFFIXES = (".py", ".c", ".h")
BINARY_SUFFIXES = (".pyc", ".so", ".o", ".png", ".gz", ".whl")
NOT_OURS = {"build", "__pycache__", "node_modules"}
HIDDEN_BUT_OURS = {".ci", ".github", ".gitignore", ".pre-commit-config.yaml"}

MAIN_GUARD = 'if __name__ == "__main__":'
IN_MEMORY_TWINS = {"hcs_bus.memory", "hcs_control.store.memory"}  # shipped for tests, ours or not
COMMAND_MODULES = {"hcs_edge.cli.main"} | {
    f"hcs_edge.cli.{entry.target.partition(':')[0]}" for entry in COMMANDS.values()
}


class Ban(NamedTuple):
    """Text that must not stand in the files under `where`, and what to write instead."""

    text: str
    instead: str
    where: tuple[str, ...] = IN_PACKAGES
    allowed_in: tuple[str, ...] = ()


PURE = (
    "hcs_bus/events.py",
    "hcs_bus/envelope.py",
    "hcs_control/fleet.py",
    "hcs_control/fold",
    "hcs_control/placement.py",
    "hcs_control/policy.py",
    "hcs_control/request.py",
    "hcs_control/rows.py",
    "hcs_edge/webhook/mutate.py",
)
BANS = [
    Ban("time.time(", "a clock argument that gives at_ns"),
    Ban("time.time_ns()", "the clock argument", allowed_in=("hcs_edge/cli/",)),
    Ban("datetime.utcnow", "at_ns"),
    Ban("datetime.now(", "at_ns"),
    Ban("datetime.datetime.now(", "at_ns"),
    Ban("monotonic(", "at_ns of the event: this module is pure", where=PURE),
    Ban("async def", "a plain function: this module is pure", where=PURE),
    Ban("asyncio.get_event_loop(", "asyncio.get_running_loop()"),
    Ban("asyncio.ensure_future(", "a task group"),
    Ban("asyncio.create_task(", "a task group", allowed_in=("hcs_edge/cli/runtime.py",)),
    Ban("print(", "structlog in services, click.echo in the command line"),
    Ban("logging.getLogger(", "structlog.get_logger()"),
    Ban("os.system(", "subprocess.run with a list of arguments"),
    Ban("shell=True", "a list of arguments"),
    Ban("yaml.load(", "yaml.safe_load"),
    Ban("pickle", "msgspec"),
    Ban("os.environ[", "Home.from_environment() or a click option"),
    Ban("0.0.0.0:", "loopback, unless told otherwise by --listen"),
    Ban("sprintf(", "snprintf", where=("c/",)),
    Ban("strcpy(", "memcpy after a check of the length", where=("c/interceptor/",)),
    Ban("strcat(", "snprintf", where=("c/",)),
    Ban("printf(", "hcs_debug: we are a guest in this process", where=("c/interceptor/",)),
    Ban("exit(", "fail open: we are a guest in this process", where=("c/interceptor/",)),
    Ban("abort(", "fail open: we are a guest in this process", where=("c/interceptor/",)),
    Ban("assert(", "fail open: we are a guest in this process", where=("c/interceptor/",)),
]

PRAGMA = re.compile(r"\s+# (noqa|type: ignore).*")

# Put together from halves, so that this file does not find itself.
FOREIGN_PATHS = re.compile(
    "|".join(["/ho" + r"me/\w", "/ro" + "ot/", "/Us" + r"ers/\w", r"(?<![\w.}/])/wo" + "rk/"])
)
INDEX_ADDRESSES = re.compile(
    "|".join(["--(extra-)?ind" + "ex-url", "/sim" + "ple/?$", "GOPRO" + "XY=http"])
    + "".join(f"|{host}[.]{end}" for host, end in (("pypi", "org"), ("pythonhosted", "org")))
    + "".join(f"|{host}[.]{end}" for host, end in (("proxy", "golang"), ("registry", "npmjs"))),
    re.MULTILINE,
)


class Complaint(NamedTuple):
    """What is wrong, and where."""

    line: int
    message: str


Rule = Callable[[str, str], Iterator[Complaint]]  # of a path from the checkout, and its text


def numbered(text: str) -> Iterator[tuple[int, str]]:
    """Return lines with their numbers."""
    return enumerate(text.splitlines(), 1)


# --- Rules ---------------------------------------------------------------------------------------


def short_lines(path: str, text: str) -> Iterator[Complaint]:
    """No line needs a wider window."""
    if path.endswith(SOURCE_SUFFIXES):
        for number, line in numbered(text):
            columns = len(PRAGMA.sub("", line))
            if columns > LINE_LENGTH_MAX:
                yield Complaint(number, f"{columns} columns, allowed are {LINE_LENGTH_MAX}")


def short_files(path: str, text: str) -> Iterator[Complaint]:
    """A file has one subject."""
    lines = text.count("\n")
    if path.endswith(SOURCE_SUFFIXES) and lines > FILE_LINES_MAX:
        yield Complaint(lines, f"{lines} lines, allowed are {FILE_LINES_MAX}: split it")


def short_functions(path: str, text: str) -> Iterator[Complaint]:
    """A function can be read at a glance."""
    functions: Iterator[tuple[str, int, int]] = iter(())
    if path.endswith(".py"):
        functions = python_functions(text)
    elif path.endswith((".c", ".h")):
        functions = c_functions(text)
    for name, first, last in functions:
        if last - first + 1 > FUNCTION_LINES_MAX:
            yield Complaint(
                first, f"{name} has {last - first + 1} lines, allowed are {FUNCTION_LINES_MAX}"
            )


def python_functions(text: str) -> Iterator[tuple[str, int, int]]:
    """Return each function with its first and last line."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, node.end_lineno or node.lineno


def c_functions(text: str) -> Iterator[tuple[str, int, int]]:
    """Return each function, as our formatting shows it: from column 0 to a brace there."""
    first, heading = 0, ""
    for number, line in numbered(text):
        if line[:1].isalpha() or line[:1] == "_":
            first, heading = number, line
        elif line.startswith("}") and "(" in heading:
            yield heading.partition("(")[0].split()[-1], first, number


def no_banned_text(path: str, text: str) -> Iterator[Complaint]:
    """Where there is a better way, it is taken."""
    for ban in BANS:
        if not path.startswith(ban.where) or path.startswith(ban.allowed_in or ("\0",)):
            continue
        pattern = re.compile(r"(?<![\w.])" + re.escape(ban.text))
        for number, line in numbered(text):
            if pattern.search(line):
                yield Complaint(number, f"{ban.text!r} is banned here: {ban.instead}")


def no_place_of_one_machine(_path: str, text: str) -> Iterator[Complaint]:
    """A checkout works anywhere: with any user's directories and any mirror."""
    for pattern, what in (
        (FOREIGN_PATHS, "a path that only one machine has"),
        (INDEX_ADDRESSES, "a package registry's address: users configure their own"),
    ):
        for number, line in numbered(text):
            if match := pattern.search(line):
                yield Complaint(number, f"{match[0]!r} is {what}")


def one_title(path: str, text: str) -> Iterator[Complaint]:
    """A Markdown file is about one thing and says so first."""
    if path.endswith(".md"):
        titles = [number for number, line in prose(text) if line.startswith("# ")]
        if len(titles) != 1:
            yield Complaint(titles[-1] if titles else 1, f"{len(titles)} titles, must be one")


def links_lead_somewhere(path: str, text: str) -> Iterator[Complaint]:
    """A relative link names a file of the checkout."""
    if not path.endswith(".md"):
        return
    for number, line in prose(text):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", line):
            if ":" not in target and not (CHECKOUT / path).parent.joinpath(target).exists():
                yield Complaint(number, f"link to {target}, which does not exist")


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Return the lines outside of code blocks."""
    in_code = False
    for number, line in numbered(text):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        elif not in_code:
            yield number, line


RULES: list[Rule] = [
    short_lines,
    short_files,
    short_functions,
    no_banned_text,
    no_place_of_one_machine,
    one_title,
    links_lead_somewhere,
]


# --- The checkout --------------------------------------------------------------------------------


def our_files(directory: Path = CHECKOUT) -> Iterator[Path]:
    """Return all text files that are ours; git is not asked, an export has none."""
    for path in sorted(directory.iterdir()):
        hidden = path.name.startswith(".") and path.name not in HIDDEN_BUT_OURS
        if hidden or path.is_symlink() or path.name in NOT_OURS or path.suffix == ".egg-info":
            continue
        if path.is_dir():
            yield from our_files(path)
        elif path.suffix not in BINARY_SUFFIXES:
            yield path


def test_the_walk_finds_files_of_every_kind() -> None:
    found = {str(path.relative_to(CHECKOUT)) for path in our_files()}
    for expected in ("README.md", "hcs_bus/events.py", "c/sim/nvml.c", ".ci/run", "Makefile"):
        assert expected in found
    assert not any(part in name for name in found for part in (".venv", "c/build", "__pycache__"))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_checkout_keeps_the_rule(rule: Rule) -> None:
    complaints = [
        f"{path.relative_to(CHECKOUT)}:{line}: {message}"
        for path in our_files()
        for line, message in rule(str(path.relative_to(CHECKOUT)), path.read_text())
    ]
    assert not complaints, "\n".join(complaints)


# --- Each rule catches what it is for ------------------------------------------------------------

LONG_PYTHON = "def long():\n" + "    pass\n" * FUNCTION_LINES_MAX
LONG_METHOD = "class A:\n    async def long(self):\n" + "        pass\n" * FUNCTION_LINES_MAX
LONG_C = "static int long_one(int a,\n                    int b) {\n" + "    a++;\n" * 70 + "}\n"
BAD_SAMPLES: list[tuple[Rule, str, str, str]] = [
    (short_lines, "a.py", "x" * 101, "101 columns"),
    (short_lines, "a.c", "x\n" + "x" * 101, "101 columns"),
    (short_files, "a.h", "\n" * 601, "601 lines"),
    (short_functions, "a.py", LONG_PYTHON, "long has 71 lines"),
    (short_functions, "a.py", LONG_METHOD, "long has 71 lines"),
    (short_functions, "a.c", LONG_C, "long_one has 73 lines"),
    (no_banned_text, "hcs_bus/a.py", "x = time.time()", "clock argument"),
    (no_banned_text, "hcs_bus/a.py", "print(1)", "click.echo"),
    (no_banned_text, "hcs_control/fold_new.py", "async def fold(): ...", "pure"),
    (no_banned_text, "c/interceptor/a.c", "    exit(1);", "fail open"),
    (no_banned_text, "c/sim/a.c", "sprintf(a, b);", "snprintf"),
    (no_place_of_one_machine, "a.txt", "cd /ho" + "me/ann/hcs", "one machine"),
    (no_place_of_one_machine, "a.txt", "cd /wo" + "rk/main", "one machine"),
    (no_place_of_one_machine, "a.sh", "pip --ind" + "ex-url https://x", "registry"),
    (no_place_of_one_machine, "a.sh", "https://pypi" + ".org/x", "registry"),
    (one_title, "a.md", "# One\n\n# Two\n", "2 titles"),
    (one_title, "a.md", "## None\n```\n# a comment\n```\n", "0 titles"),
    (links_lead_somewhere, "docs/a.md", "see [this](no-such.md)", "no-such.md"),
]
GOOD_SAMPLES: list[tuple[Rule, str, str]] = [
    (short_lines, "a.md", "x" * 200),
    (short_lines, "a.py", "x" * 100 + "  # type: ignore[misc]"),
    (short_functions, "a.py", LONG_PYTHON.removesuffix("    pass\n")),
    (short_functions, "a.c", "struct a {\n" + "    int x;\n" * 80 + "};\n"),
    (no_banned_text, "tests/a.py", "print(time.time())"),
    (no_banned_text, "hcs_bus/a.py", "def fingerprint(self): ..."),
    (no_banned_text, "hcs_edge/cli/read.py", "Console().print(table)"),
    (no_banned_text, "c/interceptor/a.c", "snprintf(a, n, b); pthread_exit(0);"),
    (no_banned_text, "hcs_edge/cli/runtime.py", "asyncio.create_task(main())"),
    (no_place_of_one_machine, "a.sh", 'cd "$HOME/network/main" && ls ./wo' + "rk/x"),
    (one_title, "a.md", "# One\n```sh\n# a comment\n```\n"),
    (links_lead_somewhere, "README.md", "[a](docs/decisions) [b](https://x.y/z) [c](#d)"),
]


@pytest.mark.parametrize(("rule", "path", "text", "complaint"), BAD_SAMPLES)
def test_a_rule_catches_a_bad_sample(rule: Rule, path: str, text: str, complaint: str) -> None:
    assert any(complaint in message for _, message in rule(path, text))


@pytest.mark.parametrize(("rule", "path", "text"), GOOD_SAMPLES)
def test_a_rule_lets_a_good_sample_pass(rule: Rule, path: str, text: str) -> None:
    assert list(rule(path, text)) == []


# --- No module without a use ---------------------------------------------------------------------


def imported_by(text: str) -> set[str]:
    """Return every name that `text` may load: what imports name, and strings (for resources)."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return names


def reachable(modules: dict[str, str], roots: set[str]) -> set[str]:
    """Return the modules that `roots` import, directly or by others; `modules` have their text."""
    found: set[str] = set()
    waiting = set(roots)
    while waiting:
        name = waiting.pop()
        if name in modules and name not in found:
            found.add(name)
            waiting |= imported_by(modules[name]) | {name.rpartition(".")[0]}
    return found


def our_modules() -> dict[str, str]:
    """Return the text of every module of our packages, by its dotted name."""
    paths = [path for package in PACKAGES for path in (CHECKOUT / package).rglob("*.py")]
    return {
        ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__"): (
            path.read_text()
        )
        for path in paths
    }


def test_every_module_is_reached_from_an_entry_point() -> None:
    migrations = {path.stem: path.read_text() for path in (CHECKOUT / "migrations").glob("*.py")}
    modules = our_modules() | migrations
    programs = {name for name, text in modules.items() if MAIN_GUARD in text}  # python -m NAME
    roots = COMMAND_MODULES | programs | IN_MEMORY_TWINS | migrations.keys()
    assert roots <= modules.keys()
    dead = modules.keys() - reachable(modules, roots)
    assert not dead, f"nobody imports {', '.join(sorted(dead))}"


def test_a_module_that_nobody_imports_is_found_dead() -> None:
    modules = {
        "a": "",
        "a.main": "from a import used\nimport json",
        "a.used": "def f():\n    from a.late import g",
        "a.late": "files('a.data')",
        "a.data": "",
        "a.dead": "from a import main",
    }
    assert modules.keys() - reachable(modules, {"a.main"}) == {"a.dead"}
