"""Reading a rule set."""

from pathlib import Path

import pytest

from hcs_bus.errors import ConfigError
from hcs_control.policy import load_policy, parse_policy

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
        (
            RULE.format(name="a", vendor="nvidia")
            + RULE.format(name="a", vendor="huawei").replace('version = "v"', ""),
            "two rules have the name 'a'",
        ),
        (RULE.format(name="a", vendor="nvidi"), "vendors are nvidia, huawei, hygon"),
        (RULE.format(name="", vendor="nvidia"), "name"),
        (RULE.format(name="n" * 129, vendor="nvidia"), "name"),
        (RULE.format(name="a\\u0000", vendor="nvidia"), "name"),
        (RULE.format(name="a", vendor="nvidia").replace('"v"', '"v\\u0000"'), "version"),
    ],
)
def test_a_wrong_policy_is_refused_with_its_reason(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        load_policy(path)


@pytest.mark.parametrize("seconds", ["inf", "nan", "-inf", "-0.5", "31_536_001", "1e300"])
def test_a_release_is_waited_for_a_year_at_most_and_not_less_than_nothing(seconds: str) -> None:
    text = RULE.format(name="a", vendor="nvidia").replace("_s = 1", f"_s = {seconds}")
    with pytest.raises(ConfigError, match="release_after_s"):
        parse_policy(text)


@pytest.mark.parametrize("seconds", ["0", "0.5", "31_536_000"])
def test_a_release_may_be_waited_for_from_nothing_to_a_year(seconds: str) -> None:
    text = RULE.format(name="a", vendor="nvidia").replace("_s = 1", f"_s = {seconds}")
    assert parse_policy(text).version == "v"


def test_a_missing_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none.toml"):
        load_policy(tmp_path / "none.toml")
