from collections.abc import Iterator

import pytest

from tests.sandbox.callers import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.book.close()
