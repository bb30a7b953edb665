"""`pytest tests/scenarios --rewrite-scenarios` takes the answers of today into the files."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--rewrite-scenarios",
        action="store_true",
        help="Write what the fold answers now into tests/scenarios/*.txt. Keep a difference only "
        "if you know what caused it and want it.",
    )


@pytest.fixture
def rewrites(pytestconfig: pytest.Config) -> bool:
    """Whether files take over new answers; the option is not there when all tests run."""
    return bool(pytestconfig.getoption("--rewrite-scenarios", default=False))
