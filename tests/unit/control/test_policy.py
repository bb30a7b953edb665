"""Reading a rule set."""

from pathlib import Path

import pytest

from hcs_bus.errors import ConfigError
from hcs_control.policy import load_policy

RULE = """
version = "v"
[[rule]]
name = "{name}"
vendor = "{vendor}"
codes = ["79"]
release_after_s = 1
"""


def test_the_shipped_policy_is_valid() -> None:
    assert load_policy().version == "default-1"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("not toml", "policy"),
        ("version = 'v'", "rule"),
        (RULE.format(name="a", vendor="acme"), "acme"),
        (RULE.format(name="a", vendor="nvidia") + "relase = 1", "relase"),
        (
            RULE.format(name="a", vendor="nvidia")
            + RULE.format(name="b", vendor="nvidia").replace('version = "v"', ""),
            "each code belongs to one rule",
        ),
    ],
)
def test_a_wrong_policy_is_refused_with_its_reason(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        load_policy(path)


def test_a_missing_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none.toml"):
        load_policy(tmp_path / "none.toml")
