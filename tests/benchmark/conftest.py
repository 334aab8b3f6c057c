"""What several tests of the benchmark share."""

import pytest

from tests.benchmark.parsed_page import page_of
from tests.benchmark.reported import run


@pytest.fixture(scope="module")
def html() -> str:
    """The page of small, odd results."""
    return page_of(*run())
