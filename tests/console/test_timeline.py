"""The time line of an order: who did what, when and why, in sentences."""

import pytest

from ordercenter.audit.models import Action
from ordercenter.audit.services import record
from ordercenter.console.timeline import FIELDS, GROUPS, timeline_of
from ordercenter.core.actor import Actor, ActorKind
from ordercenter.core.policy import Role
from ordercenter.orders.models import Interception, SalesOrder
from ordercenter.pipeline.interception import acts, filling
from ordercenter.pipeline.interception.gates import Condition
from tests.console.conftest import AsRole, decision, held_order
from tests.factories import RefundRequestFactory, SalesOrderFactory, user_with
from tests.pipeline.seller import as_person, draft, open_seller, pick, take_one

pytestmark = pytest.mark.django_db
BOSS = Actor(ActorKind.PERSON, "7", "李主管", "warehouse_supervisor", "r")
JOB = Actor.job("pipeline")
WORDS = "江苏省暂停发货"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def on_record(order: SalesOrder, action: Action, actor: Actor = BOSS, **more: object) -> None:
    facts = {"change": {}, "reason": "", **more}
    record(action, object_type="order", object_id=order.pk, actor=actor, **facts)  # type: ignore[arg-type]


def test_every_entry_says_who_did_what_and_why_and_what_changed() -> None:
    order = SalesOrderFactory.create()
    on_record(
        order, Action.HOLD_RELEASED, reason="已电话核实",
        change={"status": ["reserved", "cleared", "routed"], "released": ["rule:velocity"],
                "paid_amount": ["10.00", "12.00"], "receiver_sealed": "***", "tier": "2"},
    )  # fmt: skip
    ((day,), timeline) = (timeline_of(order.pk).days, timeline_of(order.pk))
    (entry,) = day.entries
    assert (entry.what, entry.who, entry.why) == ("解除挂起", "李主管", "已电话核实")
    assert entry.changes == (
        "状态：已占库存 → 审核通过 → 已分仓",
        "解除：风控命中（velocity）",
        "已付：10.00 → 12.00",
        "收货人已变更（不显示内容）",
        "判定级别：二级",
    )
    assert [choice.code for choice in timeline.choices] == ["", "decisions", "holds"]


def test_the_latest_comes_first_and_a_kind_is_looked_at_alone() -> None:
    order = SalesOrderFactory.create()
    on_record(order, Action.ORDER_TAKEN, JOB, change={"status": [None, "received"]})
    on_record(order, Action.PARCEL_SHIPPED, change={"status": ["routed", "shipped"]})
    on_record(order, Action.HOLD_RETURNED, reason="补地址后再审")
    (day,) = timeline_of(order.pk).days
    assert [entry.what for entry in day.entries] == ["退回修改", "出库", "接收订单"]
    assert day.entries[-1].who == "系统 pipeline"
    (day,) = timeline_of(order.pk, wanted="goods").days
    assert [entry.what for entry in day.entries] == ["出库"]
    assert timeline_of(order.pk, wanted="nonsense").total == 3
    assert len(timeline_of(order.pk, wanted="nonsense").days[0].entries) == 3


def test_what_became_of_its_refunds_stands_in_the_line_too() -> None:
    order = SalesOrderFactory.create()
    request = RefundRequestFactory.create(order=order, shop=order.shop)
    record(
        Action.STOP_ANSWERED, object_type="refund", object_id=request.pk, actor=JOB,
        change={"answer": ["", "stopped"], "version": "1"},
    )  # fmt: skip
    (day,) = timeline_of(order.pk).days
    assert day.entries[0].changes == ("答复：订单已拦下，不会发货", "平台版本：1")


def test_lists_tracking_numbers_and_what_people_typed_are_each_shown_as_what_they_are() -> None:
    order = SalesOrderFactory.create()
    on_record(
        order, Action.ORDER_TAKEN, JOB,
        change={"auto": ["first_review", "finance_check"], "waybill": "SF1234567890123456",
                "seller_memo": ["", "身份证110101199003074578"],
                "flags": ["filled:buyer_remark:empty_remark", "odd"]},
    )  # fmt: skip
    (day,) = timeline_of(order.pk).days
    memo, waybill, flags, auto = day.entries[0].changes
    assert waybill == "快递单号：SF1234567890123456"
    assert auto == "自动完成：订单初审、财务核款"
    assert flags == "标记：自动补填留言、odd"
    assert "199003074578" not in memo


def test_an_order_without_a_record_says_so(as_role: AsRole) -> None:
    order = SalesOrderFactory.create()
    assert timeline_of(order.pk).days == []
    page = as_role(Role.CEO).get(f"/orders/{order.number}/").content.decode()
    assert "没有记录" in page


def test_a_long_story_is_cut_and_says_so() -> None:
    order = SalesOrderFactory.create()
    for _ in range(301):
        on_record(order, Action.ORDER_UPDATED, JOB)
    timeline = timeline_of(order.pk)
    assert (timeline.total, timeline.has_more) == (300, True)


def test_the_page_filters_and_shows_hostile_words_as_words(as_role: AsRole) -> None:
    hold = held_order()
    client = as_role(Role.WAREHOUSE_SUPERVISOR)
    path = f"/orders/{hold.order.number}/"
    client.post(f"{path}decide/", decision(hold, "release", reason=f"核实无误{HOSTILE}"))
    page = client.get(path).content.decode()
    assert "核实无误&lt;script&gt;" in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert client.get(f"{path}?log=decisions").status_code == 200
    assert client.get(f"{path}?log=<script>").status_code == 200
    assert "全程记录" not in as_role(Role.REVIEWER).get(path).content.decode()


def test_no_group_and_no_field_is_without_words() -> None:
    for code, (label, actions) in GROUPS.items():
        assert code
        assert str(label)
        assert actions <= set(Action)
    assert all(str(label) for label in FIELDS.values())


# --- stopped by a command -------------------------------------------------------------------------


@pytest.fixture
def stopped() -> tuple[SalesOrder, SalesOrder, Interception]:
    """An order that stood when Jiangsu was stopped, and one that came after, both let go again."""
    seller, boss, ceo = open_seller(), user_with(Role.WAREHOUSE_SUPERVISOR), user_with(Role.CEO)
    stood = take_one(seller.shop, draft())
    pick(stood, boss)
    condition = Condition.read({"places": [["江苏省", "", ""]]})
    wish = acts.Wish(WORDS, condition, WORDS, "台风预警，暂停发货")
    row = acts.ask(wish, user=boss, actor=as_person(boss))
    came = take_one(seller.shop, draft())
    acts.end(row.pk, user=ceo, actor=as_person(ceo), reason="台风已过，恢复发货")
    filling.go_on(row.pk)
    return stood, came, row


def test_a_stopped_order_tells_of_it_without_a_record_of_its_own(
    stopped: tuple[SalesOrder, SalesOrder, Interception],
) -> None:
    stood, _came, row = stopped
    entries = [one for day in timeline_of(stood.pk, wanted="holds").days for one in day.entries]
    told = [(one.what, one.why or one.changes[0]) for one in entries if one.interceptions]
    assert sorted(told) == sorted(
        [("挂起", WORDS), ("拦截包裹", f"包裹 {stood.number}-1：打包台 · 已拦下"),
         ("解除挂起", "台风已过，恢复发货")]
    )  # fmt: skip
    assert {one.interceptions for one in entries if one.interceptions} == {(row.pk,)}
    lifted = next(one for one in entries if one.what == "解除挂起")
    assert lifted.by_person
    assert not lifted.who.startswith("person:")


def test_what_its_own_record_tells_is_not_told_twice(
    stopped: tuple[SalesOrder, SalesOrder, Interception],
) -> None:
    _stood, came, row = stopped
    entries = [one for day in timeline_of(came.pk).days for one in day.entries]
    about = [one for one in entries if one.interceptions]
    assert [one.what for one in about] == ["解除挂起", "接收订单"]
    assert {one.interceptions for one in about} == {(row.pk,)}


def test_the_line_leads_to_the_interception(
    stopped: tuple[SalesOrder, SalesOrder, Interception], as_role: AsRole
) -> None:
    stood, _came, row = stopped
    client = as_role(Role.CEO)
    page = client.get(f"/orders/{stood.number}/?log=holds").content.decode()
    assert f'href="/intercept/{row.pk}/"' in page
    assert client.get(f"/intercept/{row.pk}/").status_code == 200
