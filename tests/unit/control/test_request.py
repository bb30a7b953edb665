"""What a Pod may ask for, and how a wrong request is explained."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcs_control.quantity import parse_positive_integer
from hcs_control.request import Container, RequestError, Resources, parse_request


def container(name: str = "main", **limits: str) -> Container:
    """Return a container with limits; `vram` and `tflops` are short for the full names."""
    names = {"vram": "ai.compute/vram", "tflops": "ai.compute/tflops-fp16"}
    return Container(name, Resources(limits={names.get(k, k): v for k, v in limits.items()}))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16Gi", 16 * 1024**3),
        ("100", 100),
        ("0.5Gi", 512 * 1024**2),
        ("1e3", 1000),
        ("2k", 2000),
        ("17179869184", 16 * 1024**3),
        ("1000m", 1),
        ("160Gi", 160 * 1024**3),
    ],
)
def test_whole_quantities_are_read_exactly(text: str, value: int) -> None:
    assert parse_positive_integer(text) == value


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1.5", "not whole"),
        ("500m", "not whole"),
        ("-1", "greater than zero"),
        ("0", "greater than zero"),
        ("", "not a quantity"),
        ("16GiB", "not a quantity"),
        ("sixteen", "not a quantity"),
        ("1" * 50, "not a quantity"),
        ("1e999999999", "greater than zero"),
    ],
)
def test_other_quantities_are_refused_with_a_reason(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_positive_integer(text)


@given(st.integers(1, 2**63), st.sampled_from(["", "Ki", "Mi", "k", "M"]))
def test_what_is_written_is_what_is_read(number: int, suffix: str) -> None:
    factor = {"": 1, "Ki": 1024, "Mi": 1024**2, "k": 1000, "M": 1000**2}[suffix]
    assert parse_positive_integer(f"{number}{suffix}") == number * factor


@given(st.text(max_size=45))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert parse_positive_integer(text) > 0
    except ValueError as error:
        assert str(error)


def test_a_pod_that_asks_for_nothing_of_ours_is_left_alone() -> None:
    assert parse_request([container(cpu="1")]) is None


def test_requests_and_limits_both_count() -> None:
    asked = Container(
        "main",
        Resources(requests={"ai.compute/vram": "16Gi"}, limits={"ai.compute/tflops-fp16": "100"}),
    )
    request = parse_request([asked])
    assert request is not None
    assert (request.vram_bytes, request.fp16_gflops) == (16 * 1024**3, 100_000)


@pytest.mark.parametrize(
    ("containers", "init", "complaint"),
    [
        ([container(vram="1.5")], [], r"containers\[main\].resources: ai.compute/vram: '1.5'"),
        ([container(vram="-1")], [], r"'-1' must be greater than zero"),
        ([container(tflops="100")], [], "ai.compute/vram is required"),
        (
            [container(vram="1Gi", **{"ai.compute/tflop": "1"})],
            [],
            "ai.compute/tflop is not one of",
        ),
        ([container("a", vram="1Gi"), container("b", vram="1Gi")], [], "only one container"),
        ([container()], [container("setup", vram="1Gi")], r"initContainers\[setup\]"),
    ],
)
def test_a_wrong_request_is_refused_by_field(
    containers: list[Container], init: list[Container], complaint: str
) -> None:
    with pytest.raises(RequestError, match=complaint):
        parse_request(containers, init)


def test_a_limit_that_differs_from_its_request_is_refused() -> None:
    differing = Resources(requests={"ai.compute/vram": "1Gi"}, limits={"ai.compute/vram": "2Gi"})
    with pytest.raises(RequestError, match="limit of 2Gi but asks 1Gi"):
        parse_request([Container("main", differing)])
