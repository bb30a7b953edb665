"""Which faults isolate a device, and when it is released: pure decisions over folded rows.

A rule set is a TOML document (see `policies/default.toml`). Deciding takes no clock: releases are
decided on `tick` facts, and the waiting time counts from the first tick that saw all codes gone,
so an agent's wrong clock can neither hasten nor delay a release.
"""

import functools
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from hcs_bus.errors import ConfigError
from hcs_bus.events import Fault, Isolate, Release, Tick
from hcs_bus.names import NANOSECONDS_PER_SECOND, StreamSeq, Vendor
from hcs_control.rows import DeviceRow, IsolationRow

EVIDENCE_CHARACTERS_MAX = 2_000
RELEASE_AFTER_S_MAX = 365 * 86_400

# TOML can write a NUL, PostgreSQL's text cannot hold one.
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"\A[^\x00]*\Z")]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=RELEASE_AFTER_S_MAX)]

DEFAULT_POLICY_PATH = Path(__file__).parent / "policies" / "default.toml"


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Codes of one vendor that isolate a device."""

    name: Name
    vendor: Vendor
    codes: tuple[str, ...]
    release_after_s: Seconds


class _PolicyDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Name
    rule: tuple[Rule, ...]


class Policy:
    """A rule set, ready for look-up."""

    def __init__(self, version: str, rules: tuple[Rule, ...]) -> None:
        self.version = version
        self._rule_of_code: dict[tuple[Vendor, str], Rule] = {}
        self._rule_of_name = {rule.name: rule for rule in rules}
        for rule in rules:
            if self._rule_of_name[rule.name] is not rule:
                raise ConfigError(f"two rules have the name {rule.name!r}: isolations name theirs")
            for code in rule.codes:
                other = self._rule_of_code.setdefault((rule.vendor, code), rule)
                if other is not rule:
                    raise ConfigError(
                        f"rules {other.name!r} and {rule.name!r} both list "
                        f"{rule.vendor} code {code!r}: each code belongs to one rule"
                    )

    def rule_for(self, fault: Fault) -> Rule | None:
        """Return the rule that a fault's code triggers."""
        return self._rule_of_code.get((fault.vendor, fault.code))

    def release_after_ns(self, isolation: IsolationRow) -> int:
        """Return how long an isolated device must have been free of faults.

        A rule that a newer policy dropped no longer holds anything back.
        """
        rule = self._rule_of_name.get(isolation.rule)
        return 0 if rule is None else int(rule.release_after_s * NANOSECONDS_PER_SECOND)


def load_policy(path: Path = DEFAULT_POLICY_PATH) -> Policy:
    """Read a rule set.

    Raises:
        ConfigError: the file is missing, no TOML, or has a wrong field.
    """
    try:
        return parse_policy(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise ConfigError(f"policy {path}: {error}") from error


@functools.lru_cache(maxsize=4)  # the fold asks for the one in force with each fault
def parse_policy(document: str) -> Policy:
    """Return the rule set that a TOML document states.

    Raises:
        ConfigError: no TOML, or a wrong field.
    """
    try:
        parsed = msgspec.convert(tomllib.loads(document), _PolicyDocument)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(str(error)) from error
    except msgspec.ValidationError as error:
        allowed = f" (vendors are {', '.join(Vendor)})" if ".vendor`" in str(error) else ""
        raise ConfigError(f"{error}{allowed}") from error
    return Policy(parsed.version, parsed.rule)


def decide_on_fault(
    policy: Policy, seq: StreamSeq, device: DeviceRow, fault: Fault
) -> Isolate | None:
    """Return the isolation that a newly raised fault calls for."""
    rule = policy.rule_for(fault)
    if rule is None:
        return None
    detail = f": {fault.detail}" if fault.detail else ""
    evidence = f"{fault.vendor} code {fault.code} ({fault.name}, {fault.severity}){detail}"
    return Isolate(
        at_ns=fault.at_ns,
        device_id=device.device_id,
        node=device.node_name,
        code=fault.code,
        rule=rule.name,
        policy_version=policy.version,
        # A driver's page of text must not make a decision too large to publish.
        evidence=evidence[:EVIDENCE_CHARACTERS_MAX],
        fact_seqs=(seq,),
    )


def decide_on_tick(
    policy: Policy, seq: StreamSeq, device: DeviceRow, isolation: IsolationRow, tick: Tick
) -> Release | None:
    """Return the release that passing time calls for, told where the card is now."""
    if isolation.active_codes or isolation.clear_since_ns is None:
        return None
    clear_ns = tick.at_ns - isolation.clear_since_ns
    if clear_ns < policy.release_after_ns(isolation):
        return None
    return Release(
        at_ns=tick.at_ns,
        device_id=isolation.device_id,
        node=device.node_name,
        rule=isolation.rule,
        policy_version=policy.version,
        evidence=f"no active fault for {clear_ns / NANOSECONDS_PER_SECOND:.0f} s",
        fact_seqs=(isolation.isolated_seq, seq),
    )
