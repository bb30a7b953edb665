"""The `hcs` command run to its end, beside a test's loop."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from tests.support.backend import Backend

HCS = Path(sys.executable).parent / "hcs"
RUN_TIMEOUT_S = 60


async def hcs(
    backend: Backend, database_url: str, *arguments: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command on these servers."""
    return await asyncio.to_thread(
        subprocess.run,
        [str(HCS), *arguments],
        env=os.environ | {"HCS_NATS_URL": backend.nats_url, "HCS_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=False,
        timeout=RUN_TIMEOUT_S,
    )
