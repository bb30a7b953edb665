"""The block of ports: complete, without doubles, inside what the kernel has."""

import pytest

from hcs_edge.local import ports
from hcs_edge.local.errors import LocalClusterError

AGENTS = [f"agent-{number}" for number in range(4)]


def test_every_program_and_agent_has_a_port_of_its_own() -> None:
    plan = ports.plan(18400, AGENTS)
    assert set(plan) == {*ports.PROGRAMS, *AGENTS}
    assert len(set(plan.values())) == len(plan)
    assert min(plan.values()) == 18400


def test_no_program_reaches_into_the_ports_of_the_agents() -> None:
    plan = ports.plan(18400, AGENTS)
    assert max(plan[name] for name in ports.PROGRAMS) < min(plan[name] for name in AGENTS)


@pytest.mark.parametrize("base", [-1, 0, 1023, 65535 - 23])
def test_a_base_without_room_names_the_option_and_the_limits(base: int) -> None:
    with pytest.raises(LocalClusterError, match="--port-base.*1024.*65511"):
        ports.plan(base, AGENTS)


def test_the_highest_base_that_fits_is_allowed() -> None:
    assert max(ports.plan(65511, AGENTS).values()) == 65534


def test_a_port_in_use_names_the_port_the_program_and_the_option(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ports, "is_free", lambda port: port != 18401)
    with pytest.raises(LocalClusterError, match=r"18401 \(postgres\).*--port-base"):
        ports.check(ports.plan(18400, AGENTS))
