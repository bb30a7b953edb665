"""What the Kubernetes adapter tells the API server beside what the generated client does."""

from unittest.mock import AsyncMock, Mock

from hcs_bus.names import PodUid
from hcs_edge.extender.grants import BINDING_AGE_S_MAX, RESERVATION_TTL_S
from hcs_edge.kube.client import REQUEST_TIMEOUT_S, KubernetesApi
from hcs_edge.kube.port import Binding
from tests.support.facts import NODE


async def test_a_binding_tells_the_server_for_how_long_it_may_work_on_it() -> None:
    answer = Mock(status=201, read=AsyncMock(return_value=b"{}"))
    api_client = Mock(call_api=AsyncMock(return_value=answer))
    binding = Binding(
        namespace="default", pod_name="pod-1", pod_uid=PodUid("u"), node=NODE, annotations={}
    )
    await KubernetesApi(api_client).bind(binding)
    query = api_client.call_api.await_args.args[3]
    assert query == [("timeout", "10s")]
    assert api_client.call_api.await_args.kwargs["_request_timeout"] == REQUEST_TIMEOUT_S


def test_no_reservation_is_given_back_while_its_binding_may_be_worked_on() -> None:
    assert BINDING_AGE_S_MAX + REQUEST_TIMEOUT_S < RESERVATION_TTL_S
