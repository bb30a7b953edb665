"""Rows and decisions in short lines: of a new row the telling fields, of a changed one the rest."""

import re

import msgspec

from hcs_control.fold_isolation import DeviceDecision
from hcs_control.rows import (
    AllocationRow,
    AnyRow,
    Change,
    DeviceCounterRow,
    DeviceRow,
    DeviceValidityRow,
    HardwareProfileRow,
    HealthPolicyRow,
    IsolationRow,
    NodeSampleRow,
    Removed,
    RowKey,
    SourcePositionRow,
)
from tests.support.facts import GIB, SECOND, START_NS

Rows = dict[tuple[type[AnyRow], RowKey], AnyRow]

TELLING_FIELDS: dict[type[AnyRow], tuple[str, ...]] = {
    DeviceRow: ("node_name", "vendor", "vram_bytes", "fp16_gflops"),
    IsolationRow: ("rule", "active_codes"),
    AllocationRow: ("state", "vram_bytes", "fp16_gflops"),
    DeviceCounterRow: ("ecc_corrected", "ecc_uncorrected", "pcie_replays", "link_errors"),
    NodeSampleRow: ("devices",),
    HealthPolicyRow: ("policy_version",),
}
# The past of devices, whose changes are told already, and what follows from their models.
HIDDEN_ROWS = (DeviceValidityRow, HardwareProfileRow)
HIDDEN_FIELDS = {"seq", "last_n"}  # they change with every fact


def number(value: float) -> str:
    """Return a number without needless zeros."""
    return f"{value:.10g}"


def word(field: str, value: object) -> str:
    """Return a field's value in its unit; moments count from the scenario's start."""
    if value in (None, (), ""):
        return "-"
    if isinstance(value, int) and field.endswith("_bytes"):
        return f"{number(value / GIB)}GiB"
    if isinstance(value, int) and field.endswith("_gflops"):
        return f"{number(value / 1000)}TFLOPS"
    if isinstance(value, int) and field.endswith("_ns"):
        return f"{number((value - START_NS) / SECOND)}s"
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    return str(value)


def change_line(before: Rows, change: Change) -> str | None:
    """Return what a change does to a row; None when it changes nothing worth telling."""
    if isinstance(change, HIDDEN_ROWS):
        return None
    if isinstance(change, Removed):
        return f"{_name(change.row_type, change.key)} is removed"
    name, old = _name(type(change), change.key), before.get((type(change), change.key))
    if old is None:
        fields = TELLING_FIELDS.get(type(change), ())
        told = ", ".join(f"{field} {word(field, getattr(change, field))}" for field in fields)
        if isinstance(change, SourcePositionRow) and not change.missing:
            return None
        return f"{name} is new" + (f": {told}" if told else "")
    differences = [
        f"{field} {word(field, getattr(old, field))} -> {word(field, getattr(change, field))}"
        for field in change.__struct_fields__
        if field not in HIDDEN_FIELDS and getattr(old, field) != getattr(change, field)
    ]
    return f"{name}: {', '.join(differences)}" if differences else None


def _name(row_type: type[AnyRow], key: RowKey) -> str:
    parts = (f"#{part}" if isinstance(part, int) else part for part in key)
    words = re.findall("[A-Z][a-z]+", row_type.__name__.removesuffix("Row"))
    return " ".join([*(word.lower() for word in words), *parts])


def decision_line(decision: DeviceDecision) -> str:
    """Return a decision with what it rests on."""
    kind = type(decision).__name__.lower()
    facts = " ".join(f"#{seq}" for seq in decision.fact_seqs)
    return (
        f"{kind} {decision.device_id} on {decision.node} by {decision.rule}, "
        f"resting on {facts}: {decision.evidence}"
    )


def device_line(row: DeviceRow) -> str:
    """Return how a card stands."""
    marks = [row.health.value]
    marks += [] if row.present else ["absent"]
    marks += ["overcommitted"] if row.overcommitted else []
    vram, tflops = word("_bytes", row.vram_free_bytes), word("_gflops", row.fp16_free_gflops)
    return f"{row.device_id} on {row.node_name}: {' '.join(marks)}, free {vram} {tflops}"


def isolation_line(row: IsolationRow) -> str:
    """Return how an isolation stands."""
    if row.released_seq is not None:
        state = f"released at {word('_ns', row.released_at_ns)} by #{row.released_seq}"
    elif row.active_codes:
        state = f"held by {word('', row.active_codes)}"
    else:
        state = f"clear since {word('_ns', row.clear_since_ns)}"
    return f"{row.device_id} #{row.isolated_seq} {row.rule}: {state}"


def struct_line(value: msgspec.Struct, *fields: str) -> str:
    """Return some fields of anything, in their units."""
    return " ".join(word(field, getattr(value, field)) for field in fields)
