"""The memory twin keeps the store contract."""

import pytest

from hcs_control.store.memory import MemoryStore
from tests.support.store_contract import StoreContract


class TestMemoryStore(StoreContract):
    """The contract, in memory."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        """Return an empty store."""
        return MemoryStore()
