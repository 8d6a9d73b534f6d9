"""A door that is open, or a platform that is polled, by its name in the table."""

from collections.abc import Iterator

import pytest

from tests.doors.doors import DOORS, Door
from tests.doors.polls import Polled


@pytest.fixture
def door(request: pytest.FixtureRequest, db: None) -> Door:
    return DOORS[request.param]().open()


@pytest.fixture
def polled(request: pytest.FixtureRequest, db: None) -> Iterator[Polled]:
    made = Polled(request.param)
    yield made
    made.close()
