"""One whole cluster for all tests here: it takes seconds to start and a gigabyte to hold."""

from collections.abc import Iterator

import pytest

from tests.support.local_cluster import LocalCluster, running_cluster
from tests.support.workloads import Workloads


@pytest.fixture(scope="session")
def local_cluster() -> Iterator[LocalCluster]:
    """Start everything `hcs up` starts; stop it by its records at the end."""
    with running_cluster() as started:
        yield started


@pytest.fixture
def workloads(local_cluster: LocalCluster) -> Iterator[Workloads]:
    """Return the cluster as its users see it; at the end of the test it is empty again."""
    made = Workloads(local_cluster)
    yield made
    made.delete_all_pods()
