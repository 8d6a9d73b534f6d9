"""A seller, people, and a carrier that answers."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User

from ordercenter.core.policy import Role
from ordercenter.pipeline import stages
from tests.factories import user_with
from tests.pipeline.seller import Carrier, Seller, open_seller


@pytest.fixture
def seller() -> Seller:
    return open_seller()


@pytest.fixture
def boss() -> User:
    """The warehouse supervisor: may review, pick and pack."""
    return user_with(Role.WAREHOUSE_SUPERVISOR)


@pytest.fixture
def carrier() -> Iterator[Carrier]:
    answering = Carrier()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "_ask_carrier", answering)
        yield answering
