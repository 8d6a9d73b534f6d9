"""What buyers and staff typed runs nowhere: seven places, a real browser, and a flag nobody sets.

Every text a person outside or inside can write carries markup that would set ``window.owned``.
"""

from collections.abc import Callable

import pytest
from django.db import transaction

from fulfillment.models import Parcel
from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.core.actor import Actor, ActorKind
from ordercenter.core.policy import Role
from ordercenter.orders.models import OrderHold, SalesOrder
from ordercenter.orders.states import Disposition, HoldKind, OrderStatus
from tests.browser.conftest import DESK, PHONE, Visitor
from tests.console.conftest import held_order, shelved_order
from tests.factories import (
    OrderHoldFactory,
    OrderLineFactory,
    ParcelFactory,
    StageTaskFactory,
    VerdictFactory,
    WaybillFactory,
    user_with,
)

pytestmark = pytest.mark.browser
Visit = Callable[..., Visitor]
CANARY = "window.owned=1"
HOSTILE = (
    f"</script><script>{CANARY}</script><img src=x onerror={CANARY}>"
    f"<svg onload={CANARY}>\"' onfocus={CANARY} autofocus x='"
    f"{{{{constructor.constructor('{CANARY}')()}}}}"
)


def hostile_order() -> OrderHold:
    """Remark, memo, title, masked receiver, reason of the hold, evidence, verdict, record."""
    hold = held_order(
        tier="3", buyer_remark=HOSTILE, seller_memo=HOSTILE, receiver_masked=HOSTILE[:120],
        city=HOSTILE[:30], number="H" + "1" * 20,
    )  # fmt: skip
    OrderHold.objects.filter(pk=hold.pk).update(
        words=HOSTILE, evidence={"seen": [HOSTILE], "after_sales": HOSTILE},
        disposition=Disposition.ESCALATED, asked_by="person:7",
    )  # fmt: skip
    OrderHoldFactory.create(order=hold.order, kind=HoldKind.PERSON, code="person", words=HOSTILE)
    OrderLineFactory.create(order=hold.order, title=HOSTILE[:290])
    VerdictFactory.create(
        order=hold.order, tags=[HOSTILE],
        findings=[{"code": HOSTILE[:40], "hit": True, "tier": "2", "words": HOSTILE,
                   "seen": [HOSTILE], "limit": [HOSTILE]}],
    )  # fmt: skip
    with transaction.atomic():
        record(
            Action.RELEASE_ASKED, object_type="order", object_id=hold.order_id, reason=HOSTILE,
            actor=Actor(ActorKind.PERSON, "7", HOSTILE[:150], "reviewer"),
            change={"seller_memo": ["", HOSTILE], HOSTILE[:60]: [HOSTILE, HOSTILE]},
        )  # fmt: skip
    return hold


def packed_parcel(order: SalesOrder, *, labeled: bool) -> Parcel:
    """A parcel on the bench; the order's remark is read by the packer."""
    parcel = ParcelFactory.create(order=order, state="packed" if labeled else "picked")
    if labeled:
        WaybillFactory.create(parcel=parcel, state="live", number="SF0000000000001")
    StageTaskFactory.create(order=order, parcel=parcel, stage="pack", note=HOSTILE)
    return parcel


def is_inert(visitor: Visitor, path: str) -> str:
    """Open a page, wait until it is quiet, touch everything; return its text."""
    page = visitor.page
    visitor.open(path)
    page.wait_for_timeout(600)
    page.evaluate(
        """() => document.querySelectorAll("main *").forEach((one) => {
            one.dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
            if (one.focus) one.focus();
        })"""
    )
    page.wait_for_timeout(100)
    assert page.evaluate("window.owned") is None, path
    made = "document.querySelectorAll('main img[src=x], main svg[onload]').length"
    assert page.evaluate(made) == 0, path
    return page.inner_text("body")


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_nothing_a_person_typed_runs_on_any_page(visit: Visit, size: tuple[int, int]) -> None:
    hold = hostile_order()
    free = shelved_order(
        buyer_remark=HOSTILE, receiver_masked=HOSTILE[:120], status=OrderStatus.ROUTED
    )
    parcel = packed_parcel(free, labeled=True)
    stopped = packed_parcel(hold.order, labeled=False)
    visitor = visit(user_with(Role.WAREHOUSE_SUPERVISOR, Role.CEO), size)
    seen = {
        path: is_inert(visitor, path)
        for path in (
            "/wall/",
            "/approvals/",
            f"/orders/{hold.order.number}/",
            "/board/",
            "/work/",
            f"/work/scan/?code={parcel.number}",
            f"/work/scan/?code={stopped.number}",
        )
    }
    assert "停" in seen[f"/work/scan/?code={stopped.number}"]
    for path in ("/wall/", f"/orders/{hold.order.number}/", f"/work/scan/?code={parcel.number}"):
        assert "<img src=x onerror=" in seen[path], f"{path} shows the words as they were typed"
    width = visitor.page.evaluate("document.documentElement.scrollWidth")
    assert width <= size[0]


def test_the_flag_is_set_where_markup_does_run(visit: Visit) -> None:
    """The control: the very same text in a page without our escaping and policy."""
    page = visit(user_with(Role.REVIEWER)).page
    page.set_content(f"<main>{HOSTILE}</main>")
    page.wait_for_function("window.owned === 1", timeout=5_000)


def test_the_readable_proof_runs_nothing_when_it_is_opened(
    visit: Visit, tmp_path_factory: pytest.TempPathFactory
) -> None:
    hold = hostile_order()
    visitor = visit(user_with(Role.CEO))
    visitor.open(f"/orders/{hold.order.number}/")
    with visitor.page.expect_download() as download:
        visitor.page.get_by_role("button", name="导出可读版").click()
    path = tmp_path_factory.mktemp("proof") / "proof.html"
    download.value.save_as(path)
    visitor.page.goto(path.as_uri())
    visitor.page.wait_for_timeout(300)
    assert visitor.page.evaluate("window.owned") is None
    assert "三级冻结审批证明" in visitor.page.inner_text("body")
