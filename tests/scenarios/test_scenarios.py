"""Every scenario in this directory holds, and the driver says what is wrong with a bad one."""

from pathlib import Path

import pytest

from tests.scenarios.machine import Machine
from tests.scenarios.script import ScenarioError, replay

SCENARIOS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario(path: Path, *, rewrites: bool) -> None:
    text = path.read_text()
    assert text.startswith("# "), "the situation stands on top"
    fresh = replay(text, Machine().run)
    if rewrites:
        path.write_text(fresh)
    else:
        assert fresh == text, "look at the difference; if it is wanted: --rewrite-scenarios"


def answers(*commands: str) -> str:
    """Return a scenario of some commands with its answers."""
    return replay("\n\n".join(f"{command}\n----" for command in commands), Machine().run)


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("explode d0", "line 4: unknown command 'explode'; there are arrive, bind, .*tick"),
        ("hold devices", "unknown command 'devices'"),
        ("fault d0", "missing a required argument: 'code'; usage: fault DEVICE CODE"),
        ("tick 30s 40s", "too many positional arguments; usage: tick DURATION"),
        ("fingerprint", r"usage: fingerprint NODE \[DEVICES\]\.\.\."),
        ("tick 1.5s", "'1.5s': must be a whole number of s, such as 30s"),
        ("fault d9 79", "no fingerprint has a card 'd9'; known are: d0"),
        ("fingerprint a d0:80", "'d0:80': must be DEVICE:80GiB:312TFLOPS"),
        ("arrive", "nothing is held"),
        ("resend gpu-0/boot/7", r"not sent; there are: \['gpu-0/boot/1'\]"),
    ],
)
def test_a_wrong_command_is_an_error_that_says_what_is_right(command: str, complaint: str) -> None:
    with pytest.raises(ScenarioError, match=complaint):
        answers("fingerprint gpu-0 d0:80GiB:312TFLOPS", command)


def test_a_command_without_its_separator_is_an_error_that_names_the_line() -> None:
    with pytest.raises(ScenarioError, match="line 4: '----' must follow the command"):
        replay("# Prose.\n\n# More.\ntick 1s\n", Machine().run)


def test_a_rewritten_scenario_holds_and_keeps_its_prose() -> None:
    told = (
        "# Two cards.\n\nfingerprint gpu-0 d0:80GiB:312TFLOPS\n----\nwrong\n\n# And?\ndevices\n----"
    )
    fresh = replay(told, Machine().run)
    assert "wrong" not in fresh
    assert fresh.startswith("# Two cards.\n\nfingerprint") and "\n\n# And?\ndevices\n" in fresh
    assert replay(fresh, Machine().run) == fresh
