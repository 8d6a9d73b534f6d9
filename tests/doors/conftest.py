"""A door that is open, by its name in the table."""

import pytest

from tests.doors.doors import DOORS, Door


@pytest.fixture
def door(request: pytest.FixtureRequest, db: None) -> Door:
    return DOORS[request.param]().open()
