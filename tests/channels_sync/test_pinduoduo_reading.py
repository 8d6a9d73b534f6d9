"""What Pinduoduo's documents say: every odd but legal shape of them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from channels_sync.connectors import CONNECTORS
from channels_sync.contracts import Document, ErrorClass, Unreadable
from channels_sync.documents import document_json
from channels_sync.management.commands.read_payload import NOBODY
from ordercenter.orders.contracts import ChannelStatus, OrderDraft
from tests.channels_sync.platforms import Pinduoduo, payload

READER = CONNECTORS["pinduoduo"](NOBODY)
S = ChannelStatus
Change = Callable[[dict[str, Any]], None]


def dumped(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def read(**changes: Any) -> OrderDraft:
    return READER.read(dumped({**Pinduoduo().order(1), **changes}))


def read_refund(**changes: Any) -> Any:
    return READER.read_refund(dumped({**Pinduoduo().refund(1), **changes}))


def document(value: Any) -> Document:
    return READER.read_document(dumped(value))


# --- orders ---------------------------------------------------------------------------------

PLAIN = read()

ODD_SHAPES: dict[str, Change] = {
    "money as text": lambda row: row.update(pay_amount="34.90", postage="0.00"),
    "money as short text": lambda row: row.update(pay_amount="34.9", postage="0"),
    "no postage": lambda row: row.update(postage=None),
    "ids as text": lambda row: row["item_list"][0].update(
        sku_id="800000000101", goods_id="500000000101"
    ),
    "states as text": lambda row: row.update(
        {key: str(row[key]) for key in row if key.endswith("_status")}
    ),
    "risk null": lambda row: row.update(risk_control_status=None),
    "no after-sale": lambda row: row.pop("after_sales_status") and None,
    "after-sale null": lambda row: row.update(after_sales_status=None),
    "lists as []": lambda row: row.update(gift_list=[], extra_delivery_list=[], card_info_list=[]),
    "no gift_list": lambda row: row.pop("gift_list"),
    "an item as an object": lambda row: row.update(item_list=row["item_list"][0]),
    "step info empty": lambda row: row.update(step_order_info={}),
    "no created_time": lambda row: row.update(confirm_time=row.pop("created_time")),
    "the second address id alone": lambda row: row.update(
        open_address_id="", open_address_id_2="sandboxOpenAddress101"
    ),
    "the phone in contact_mobile": lambda row: row.update(
        receiver_phone="", contact_mobile=row["receiver_phone"]
    ),
    "services": lambda row: row.update(
        service_fee_detail=[{"service_name": "x", "service_fee": 1}], order_tag_list=None
    ),
    "a flag of none": lambda row: row.update(remark_tag=0),
    "a depot": lambda row: row.update(order_depot_info={"ware_sub_info_list": [{"ware_id": 1}]}),
}


@pytest.mark.parametrize("change", ODD_SHAPES.values(), ids=ODD_SHAPES.keys())
def test_an_odd_shape_reads_like_the_ordinary_one(change: Change) -> None:
    row = Pinduoduo().order(1)
    change(row)
    assert READER.read(dumped(row)) == PLAIN


@pytest.mark.parametrize(
    ("given", "read_as"),
    [("1", "1.00"), (1, "1.00"), ("1.5", "1.50"), ("1.50", "1.50"), ("0.01", "0.01")],
)
def test_yuan_may_be_a_number_or_a_text(given: Any, read_as: str) -> None:
    assert str(read(pay_amount=given).payable_amount) == read_as


@pytest.mark.parametrize("digits", [b"34.90", b"34.900", b"34.9000000000000000000"])
def test_a_number_is_read_by_its_digits_and_never_as_a_float(digits: bytes) -> None:
    body = dumped(Pinduoduo().order(1)).replace(b'"pay_amount": 34.9', b'"pay_amount": ' + digits)
    assert digits in body
    assert READER.read(body) == PLAIN
    with pytest.raises(Unreadable, match="pay_amount"):
        READER.read(body.replace(digits, b"34.9000000000000000001"))


@pytest.mark.parametrize("given", ["34.901", "34,90", "3e1", " 34.90", "", None, True, -1, "1元"])
def test_what_is_no_exact_amount_is_not_read(given: Any) -> None:
    with pytest.raises(Unreadable, match="pay_amount"):
        read(pay_amount=given)


def test_a_line_names_its_listing_and_keeps_its_spec_whole() -> None:
    (line,) = PLAIN.lines
    assert (line.platform_item_id, line.platform_sku_id) == ("500000000101", "800000000101")


def test_goods_without_a_sku_go_by_their_goods_id() -> None:
    row = Pinduoduo().order(1)
    row["item_list"][0] |= {"sku_id": 0, "outer_id": " "}
    (line,) = READER.read(dumped(row)).lines
    assert (line.platform_sku_id, line.outer_code) == (None, None)
    assert line.channel_line_id == "500000000101"


@pytest.mark.parametrize(
    ("changes", "status", "paid"),
    [
        ({"group_status": 0, "confirm_status": 0}, S.ON_HOLD, "34.90"),
        ({"group_status": 0, "confirm_status": 0, "pay_time": None}, S.WAIT_PAY, "0.00"),
        ({"group_status": 2, "refund_status": 1}, S.CLOSED, "34.90"),
        ({"group_status": 2, "pay_time": None}, S.CLOSED_UNPAID, "0.00"),
        ({"confirm_status": 2, "refund_status": 4}, S.CLOSED_REFUNDED, "34.90"),
        ({"refund_status": 2, "after_sales_status": 2}, S.WAIT_SHIP, "34.90"),
        ({"risk_control_status": "1"}, S.ON_HOLD, "34.90"),
        ({"risk_control_status": 2}, S.ON_HOLD, "34.90"),
        ({"risk_control_status": 1, "order_status": 2}, S.SHIPPED, "34.90"),
        ({"order_status": 0}, S.UNKNOWN, "34.90"),
    ],
)
def test_an_order_goes_only_when_every_axis_allows(
    changes: dict[str, Any], status: ChannelStatus, paid: str
) -> None:
    draft = read(**changes)
    assert (draft.status, str(draft.paid_amount)) == (status, paid)


@pytest.mark.parametrize(
    ("step", "status", "paid", "changes"),
    [
        ((0, "0.00"), S.WAIT_PAY, "0.00", {"pay_time": None}),
        ((1, "5.5"), S.DEPOSIT_PAID, "5.50", {}),
        (("1", 5), S.DEPOSIT_PAID, "5.00", {"pay_time": None, "confirm_status": 0}),
        ((2, "34.90"), S.WAIT_SHIP, "34.90", {}),
        ((1, 5), S.CLOSED, "5.00", {"confirm_status": 2, "pay_time": None}),
    ],
)
def test_a_deposit_is_money_in_but_goods_stay(
    step: tuple[Any, Any], status: ChannelStatus, paid: str, changes: dict[str, Any]
) -> None:
    info = {"step_trade_status": step[0], "step_paid_fee": step[1], "advanced_paid_fee": 5}
    draft = read(step_order_info=info, trade_type=1, **changes)
    assert (draft.status, str(draft.paid_amount)) == (status, paid)
    assert str(draft.payable_amount) == "34.90"
    assert draft.is_presale


@pytest.mark.parametrize(
    ("after_sales", "state"),
    [
        (0, "none"), (2, "in_progress"), (6, "closed"), (8, "in_progress"), (10, "refunded"),
        (11, "closed"), (14, "in_progress"), (16, "closed"), (17, "closed"), (21, "in_progress"),
        (24, "closed"), (25, "closed"), (31, "in_progress"), (33, "in_progress"),
        (99, "in_progress"),
    ],
)  # fmt: skip
def test_an_after_sale_shows_on_the_lines(after_sales: int, state: str) -> None:
    assert read(after_sales_status=after_sales).lines[0].refund_state == state


@pytest.mark.parametrize(("refund", "state"), [(2, "in_progress"), (3, "in_progress"), (4, "full")])
def test_the_refund_status_goes_before_the_after_sale(refund: int, state: str) -> None:
    assert read(refund_status=refund, after_sales_status=6).refund_state == state


def test_gifts_stand_apart_from_the_lines() -> None:
    gift = {**Pinduoduo().order(1)["item_list"][0], "goods_price": 0, "goods_count": "2"}
    draft = read(gift_list=[gift])
    assert len(draft.lines) == 1
    (outside,) = draft.gifts_outside_lines
    assert (outside.quantity, outside.outer_code) == (2, "APPLE-5")
    assert draft.has_gift


def test_lines_share_what_was_paid_to_the_fen() -> None:
    row = Pinduoduo().order(1)
    item = row["item_list"][0]
    row |= {"item_list": [{**item, "sku_id": n, "goods_price": 10} for n in (1, 2, 3)]}
    row |= {"pay_amount": "10.00", "postage": "0"}
    assert [str(line.amount) for line in READER.read(dumped(row)).lines] == [
        "3.34",
        "3.33",
        "3.33",
    ]


# --- receivers ------------------------------------------------------------------------------


def test_a_shipped_order_gives_no_receiver_to_overwrite_with() -> None:
    empty = dict.fromkeys(("receiver_name", "receiver_phone", "receiver_address", "address"), "")
    for changes in ({"order_status": 2}, {"risk_control_status": 1}):
        receiver = read(**empty, **changes).receiver
        assert receiver is not None
        assert (receiver.name, receiver.phone, receiver.address) == ("", "", "")
        assert receiver.oaid == "sandboxOpenAddress101"


def test_nothing_at_all_is_no_receiver() -> None:
    gone = dict.fromkeys(
        (
            "receiver_name", "receiver_phone", "receiver_address", "province", "city", "town",
            "open_address_id", "open_address_id_2",
        )
    )  # fmt: skip
    assert read(**gone).receiver is None


@pytest.mark.parametrize("cipher", ["~AgAAx==~0~", "$x==$0$", "~x==~0~"])
def test_a_ciphertext_without_a_mask_is_marked(cipher: str) -> None:
    masks = dict.fromkeys(("receiver_name_mask", "receiver_phone_mask", "receiver_address_mask"))
    receiver = read(receiver_name=cipher, **masks).receiver
    assert receiver is not None
    assert receiver.is_masked


def test_a_receiver_in_the_clear_is_not_marked() -> None:
    masks = dict.fromkeys(("receiver_name_mask", "receiver_phone_mask", "receiver_address_mask"))
    clear = {
        "receiver_name": "林虚构",
        "receiver_phone": "19900000101",
        "receiver_address": "路8号",
    }
    receiver = read(**clear, **masks).receiver
    assert receiver is not None
    assert not receiver.is_masked


# --- refunds --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "state", "returns", "intercept"),
    [
        (2, 2, "in_progress", False, True),
        ("2", "10", "refunded", False, True),
        (3, 7, "in_progress", True, False),
        (4, 14, "in_progress", True, False),
        (4, 16, "done", True, False),
        (5, 16, "done", False, False),
        (6, 25, "done", True, False),
        (6, 24, "closed", True, False),
        (1, 2, "in_progress", False, False),
        (9, 2, "in_progress", False, False),
        (2, 0, "none", False, False),
    ],
)
def test_a_row_of_the_list_is_read_by_the_lists_types(
    kind: Any, status: Any, state: str, returns: bool, intercept: bool
) -> None:
    draft = read_refund(after_sales_type=kind, after_sales_status=status)
    found = (draft.refund_state, draft.return_goods, draft.intercept_shipping)
    assert found == (state, returns, intercept)
    assert str(draft.amount) == "34.90"


def test_a_refund_carries_its_version() -> None:
    draft = read_refund()
    assert draft.version == "2026-03-01 09:05:00"
    assert draft.modified_at == datetime(2026, 3, 1, 1, 5, tzinfo=UTC)


def detail(**changes: Any) -> dict[str, Any]:
    """As ``pdd.refund.information.get`` answers: numbers, fen, and types one lower."""
    return {
        "id": 91000000001,
        "order_sn": "260301-000000000000101",
        "after_sales_status": 2,
        "after_sales_type": 1,
        "after_sales_reason": "其他原因",
        "refund_amount": 3490,
        "order_amount": 3490,
        "goods_number": 1,
        "sku_id": "800000000101",
        "shipping_status": 0,
        "express_no": None,
        "updated_time": "2026-03-01 09:05:00",
        **changes,
    }


@pytest.mark.parametrize("key", ["refund_information_get_response", "response", ""])
def test_the_detail_of_a_refund_counts_fen_whatever_its_outer_key(key: str) -> None:
    answer = {key: detail()} if key else detail()
    found = document(answer)
    assert found.kind == "refund_list"
    assert found.refunds == (read_refund(),)
    if key:
        assert found.facts["method"] == "pdd.refund.information.get"


@pytest.mark.parametrize(
    ("kind", "returns", "intercept"),
    [(1, False, True), (2, True, False), (3, True, False), (4, False, False), (5, True, False)],
)
def test_the_types_of_a_detail_are_one_lower(kind: int, returns: bool, intercept: bool) -> None:
    draft = READER.read_refund(dumped(detail(after_sales_type=kind)))
    assert (draft.return_goods, draft.intercept_shipping) == (returns, intercept)
    assert str(draft.amount) == "34.90"


# --- messages -------------------------------------------------------------------------------


def frame(**changes: Any) -> dict[str, Any]:
    return {**payload("pinduoduo", "message_frame_trade_confirmed"), **changes}


def content(kind: str, **facts: Any) -> dict[str, Any]:
    return {"type": kind, "mallID": 600000001, "content": json.dumps(facts)}


def test_a_message_keeps_an_id_beyond_what_a_float_holds() -> None:
    event = READER.read_event(dumped(frame(id=9007199254740993)))
    assert event.event_id == "9007199254740993"
    assert event.occurred_at == datetime.fromtimestamp(1772324406, UTC)


def test_a_message_about_a_refund_tells_when_it_was_changed() -> None:
    facts = {"tid": "260301-1", "refund_id": 9, "refund_fee": 3490, "modified": 1772327287123}
    event = READER.read_event(dumped(frame(message=content("pdd_refund_RefundCreated", **facts))))
    assert event.channel_number == "260301-1"
    assert event.occurred_at == datetime.fromtimestamp(1772327287, UTC).replace(microsecond=123000)


def test_a_message_without_a_sound_time_is_a_message() -> None:
    event = READER.read_event(dumped(frame(time=1772324406)))  # seconds
    assert event.occurred_at is None


@pytest.mark.parametrize("text", ['"{}"', "x", "[]", "", None])
def test_content_is_decoded_once_and_must_be_an_object(text: Any) -> None:
    message = {"type": "t", "mallID": 1, "content": text}
    with pytest.raises(Unreadable):
        READER.read_event(dumped(frame(message=message)))


@pytest.mark.parametrize("kind", ["HeartBeat", "Ack"])
def test_a_frame_that_keeps_the_line_is_no_event(kind: str) -> None:
    found = document({"id": 1, "commandType": kind, "time": 1772324406000})
    assert (found.kind, found.events) == ("event_list", ())


# --- documents ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"order_list_get_response": {"order_list": [], "total_count": 0}}, "order_list"),
        ({"order_list_get_response": {"total_count": 0}}, "order_list"),
        ({"order_sn_increment_get_response": {"has_next": False}}, "order_list"),
        ({"order_sn_increment_get_response": {"order_sn_list": None}}, "order_list"),
        ({"refund_increment_get_response": {"total_count": 0}}, "refund_list"),
        ({"refund_increment_get_response": {"refund_list": None, "total_count": 0}}, "refund_list"),
    ],
)
def test_an_empty_list_is_a_list(answer: dict[str, Any], kind: str) -> None:
    found = document(answer)
    assert (found.kind, found.orders, found.refunds) == (kind, (), ())


def test_the_list_by_confirm_time_reads_like_the_increment() -> None:
    row = Pinduoduo().order(1)
    found = document({"order_list_get_response": {"order_list": [row], "total_count": 1}})
    assert found.orders == (PLAIN,)
    assert found.facts["method"] == "pdd.order.list.get"
    assert found.facts["page"] == {"has_next": None, "total": 1}


@pytest.mark.parametrize(
    ("answer", "code", "klass"),
    [
        ({"error_response": {"error_code": "10019"}}, "10019", ErrorClass.AUTH),
        ({"error_response": {"error_code": 52101}}, "52101", ErrorClass.RATE_LIMITED),
        ({"error_response": {"error_code": 70033}}, "70033", ErrorClass.PLATFORM),
        ({"error_response": {"error_code": 70036}}, "70036", ErrorClass.BUSINESS),
        ({"error_response": {"error_code": 10001, "sub_code": None}}, "10001", ErrorClass.BUSINESS),
        ({"error_code": 20005, "error_msg": "ip"}, "20005", ErrorClass.AUTH),
        (
            {"response": {"success": False, "error_code": 50002, "error_msg": "x"}},
            "50002",
            ErrorClass.PLATFORM,
        ),
        (
            {"goods_quantity_update_response": {"is_success": "false"}},
            "is_success",
            ErrorClass.BUSINESS,
        ),
    ],
)
def test_a_refusal_is_told_in_every_envelope(
    answer: dict[str, Any], code: str, klass: ErrorClass
) -> None:
    error = document(answer).error
    assert error is not None
    assert (error.code, error.klass) == (code, klass)


def test_a_degraded_interface_asks_for_patience() -> None:
    error = document({"error_response": {"error_code": 52102}}).error
    assert error is not None
    assert error.retry_after_seconds == 300


def test_the_plain_key_is_a_success_too() -> None:
    found = document({"response": {"success": "true", "error_code": 0}})
    assert (found.kind, found.facts["ok"]) == ("ack", True)


def test_open_refunds_and_states_are_told_by_number() -> None:
    check = {
        "refund_status_check_response": {"order_sns_exists_refund": [{"order_sn": "260301-1"}]}
    }
    assert document(check).facts["open_refunds"] == ["260301-1"]
    states = [{"orderSn": "260301-1", "order_status": 1, "refund_status": 1}]
    found = document({"order_status_get_response": {"order_status_list": states}})
    entries: Any = found.facts["entries"]
    assert entries[0]["platform_order_no"] == "260301-1"


def test_a_decryption_tells_of_each_entry_and_shows_nobody() -> None:
    found = document(payload("pinduoduo", "open_decrypt_batch_partly_failed"))
    entries: Any = found.facts["entries"]
    assert [(one["ok"], one["code"]) for one in entries] == [
        (True, "0"),
        (True, "0"),
        (False, "52500"),
    ]
    assert "林虚构" not in json.dumps(document_json(found), ensure_ascii=False)


@pytest.mark.parametrize(
    "answer", [{"some_other_response": {}}, {"a_response": {}, "b_response": {}}, {"x": 1}]
)
def test_what_is_not_pinduoduos_is_unreadable(answer: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        document(answer)
