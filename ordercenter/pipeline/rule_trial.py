"""A rule tried on one order that is there: would it hit, and what would have changed that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser

from ordercenter.catalog.gifts import strategies
from ordercenter.catalog.selectors import Shelf
from ordercenter.core.errors import NotFound
from ordercenter.core.policy import Can, require
from ordercenter.core.readonly import read_only
from ordercenter.orders.models import SalesOrder
from ordercenter.pipeline import screening
from ordercenter.pipeline.work import load
from risk.explaining import Explained, explain
from risk.facts import compute
from risk.language import read_rules

NUMBER: Final = 32


@dataclass(frozen=True, slots=True)
class Trial:
    """What a rule says of one order as things are now."""

    number: str
    told: Explained


def try_rule(rule: Mapping[str, Any], number: str, *, user: AbstractBaseUser) -> Trial:
    """Judge one order by one rule, switched on or off. Changes nothing, locks nothing.

    Raises NotFound for an order the user may not know of, InvalidInput for a rule that cannot
    be read.
    """
    require(user, Can.EDIT_RULES)
    number = number.strip()[:NUMBER]
    pk = SalesOrder.objects.visible_to(user).filter(number=number).values_list("pk").first()
    if pk is None:
        raise NotFound(what=f"订单 {number or '—'}")
    program = read_rules(0, [{**rule, "enabled": True}])
    with read_only():
        works = load(pk, lock=False)
        subjects = screening.subjects_of(works, program, Shelf.for_codes(set()))
        facts = compute(subjects, program.specs, strategies())
    (told,) = explain(subjects[0], program, facts[0])
    return Trial(number, told)
