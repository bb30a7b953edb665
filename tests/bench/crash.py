"""Whether anything is lost, or counts twice, behind fifty random `kill -9`s under load.

Three writers, a real agent on a simulated node, two projectors, nats-server and PostgreSQL; see
`tests/support/crashes.py` for who is killed how, and `audit.py` for what is compared afterwards.

What `lost 0` says: whatever a spool was given was folded once, every fault that a driver lists as
in force was told and so was its end, and so was every Xid that an agent had stored, or had time to
store, when it was killed. An Xid comes before each kill, and the driver gives it once: `pushed`
counts them, `pushed_due` those that must be on the bus. `pushed_unknown` are those of the others
that are not: no agent listened, or it was killed before it stored them. They are lost to all, no
agent can help it, and they are not in `lost`; a fatal Xid would leave the driver's call for a
recovery, which the next agent finds.

    make bench BENCH=crash
"""

import asyncio
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

from hcs_control.store.migrate import migrate
from tests.support.audit import Audit
from tests.support.backend import Backend, start_backend, stop_backend
from tests.support.crashes import Crashes

KILLS = 50
SEED = 20
DATABASE = "bench_crash"


async def measure(backend: Backend, root: Path) -> Audit:
    """Return what is left after the kills."""
    bus = await backend.connect_bus()
    await bus.ensure_streams()
    await bus.close()
    url = backend.database_url(DATABASE)
    return await Crashes(backend, url, root, random.Random(SEED)).run(KILLS)


def main() -> None:
    """Print one JSON line."""
    root = Path(tempfile.mkdtemp(prefix="hcs-bench-"))
    backend = start_backend(root / "backend")
    try:
        backend.create_database(DATABASE)
        migrate(backend.database_url(DATABASE))
        found = asyncio.run(measure(backend, root))
    finally:
        stop_backend(backend)
        shutil.rmtree(root, ignore_errors=True)
    for finding in found.findings:
        print(finding, file=sys.stderr)
    by_victim = {f"kills_of_{victim}": count for victim, count in sorted(found.kills.items())}
    result = {
        "bench": "crash",
        "kills": sum(found.kills.values()),
        "lost": found.lost,
        "twice": found.twice,
        "replay_equal": found.replay_equal,
        "events": found.events,
        "resent": found.resent,
        "decisions": found.decisions,
        "pushed": found.pushed,
        "pushed_due": found.pushed_due,
        "pushed_unknown": found.pushed_unknown,
    }
    print(json.dumps(result | by_victim))


if __name__ == "__main__":
    main()
