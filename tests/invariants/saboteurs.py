"""Planted breaks: one thing gone wrong, and the one invariant that has to see it.

A saboteur writes past the services. Where the database itself refuses, the wall is taken down
first: a trigger is switched off while planting, a constraint stays dropped until the rollback
(and is missed by W1).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection

from channels_sync import services as channels
from channels_sync.contracts import MessageKind, RawMessage
from channels_sync.models import InboxMessage
from fulfillment.models import Parcel, Waybill
from inventory import arrivals, transfers
from inventory import services as inventory
from inventory.contracts import Demand, StockRequest
from inventory.models import ClawBack, Reservation, StockLevel, StockSlice, Transfer
from ordercenter.catalog.models import Listing, Sku
from ordercenter.core.actor import PIPELINE
from ordercenter.core.clock import now as clock_now
from ordercenter.orders.models import Interception, OrderHold, SalesOrder
from tests.factories import OrderHoldFactory, RefundRequestFactory, ShopFactory, WaybillFactory
from tests.invariants.world import World

Named = tuple[str, object]
Plant = Callable[[World], Named]

MOVEMENTS: Final = ("inventory_stockmovement", "append_only")
AUDIT: Final = ("audit_auditrecord", "append_only")
BYTES: Final = ("channels_sync_inboxmessage", "guard_bytes")


def sql(text: str, *values: Any) -> None:
    """Run one statement; it must hit something, or the saboteur does nothing."""
    with connection.cursor() as cursor:
        cursor.execute(text, list(values))
        assert cursor.rowcount, text  # -1 of an ALTER counts as done


@dataclass(frozen=True)
class Saboteur:
    """``plant`` breaks something and names the (kind, id) that must be told."""

    code: str
    plant: Plant
    through: Sequence[tuple[str, str]] = ()
    dropping: Sequence[tuple[str, str]] = ()
    """(table, constraint or unique index)."""
    implied: Sequence[str] = ()
    """What cannot hold either once this is broken."""

    @property
    def name(self) -> str:
        return f"{self.code}-{self.plant.__name__}"

    @property
    def red(self) -> set[str]:
        return {self.code, *self.implied, *(["W1"] if self.dropping else [])}

    def strike(self, world: World) -> Named:
        with connection.cursor() as cursor:
            # What is still waiting to be checked would forbid the ALTERs.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for table, trigger in self.through:
                cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
            for table, name in self.dropping:
                cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
                cursor.execute(f"DROP INDEX IF EXISTS {name}")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            named = self.plant(world)
            if self.through:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for table, trigger in self.through:
                cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER {trigger}")
        return named


def one_line(order: SalesOrder) -> Any:
    return order.lines.filter(sku__isnull=False).order_by("pk").first()


def promise(order: SalesOrder) -> Reservation:
    found = Reservation.objects.filter(order_id=order.pk).order_by("pk").first()
    assert found is not None
    return found


def parcel_of(order: SalesOrder) -> Parcel:
    return Parcel.objects.get(order=order)


def label_of(order: SalesOrder) -> Waybill:
    return Waybill.objects.get(parcel__order=order)


def hold_of(order: SalesOrder) -> OrderHold:
    return OrderHold.objects.get(order=order)


def level(warehouse: str, sku: str) -> StockLevel:
    return StockLevel.objects.get(virtual_warehouse__code=warehouse, sku__code=sku)


def overpromise(order: SalesOrder, where: StockLevel, quantity: int) -> None:
    """A promise with its ledger entry and its count, but without the goods."""
    sql(
        "UPDATE inventory_stocklevel SET reserved = reserved + %s WHERE id = %s", quantity, where.pk
    )
    sql(
        "WITH made AS (INSERT INTO inventory_reservation (line_id, order_id, level_id, quantity, "
        "state, created_at, close_reason) VALUES (%s, %s, %s, %s, 'active', now(), '') "
        "RETURNING id, level_id, quantity) INSERT INTO inventory_stockmovement (level_id, source, "
        "target, quantity, reservation_id, reason, actor, created_at) SELECT level_id, "
        "'available', 'reserved', quantity, id, 'reserve', 'job:test', now() FROM made",
        one_line(order).pk, order.pk, where.pk, quantity,
    )  # fmt: skip


# --- stock ---------------------------------------------------------------------------------


def promised_beyond_the_shelf(world: World) -> Named:
    where = level("EAST", "RARE")
    overpromise(world.short, where, 6)
    return "stock_level", where.pk


def a_unit_appears(world: World) -> Named:
    where = level("EAST", "SOFA")
    sql("UPDATE inventory_stocklevel SET on_hand = on_hand + 1 WHERE id = %s", where.pk)
    return "stock_level", where.pk


def the_ledger_is_rewritten(world: World) -> Named:
    where = level("EAST", "RUG")
    sql(
        "UPDATE inventory_stockmovement SET quantity = quantity + 1 "
        "WHERE level_id = %s AND source = 'outside'",
        where.pk,
    )
    return "stock_level", where.pk


def on_their_way(world: World) -> Transfer:
    """Three sofas between two rooms."""
    here, there = level("EAST", "SOFA"), level("TWIN", "SOFA")
    user = world.people.supervisor
    transfer = transfers.draft(
        here.virtual_warehouse_id, there.virtual_warehouse_id, {here.sku_id: 3}, user=user,
        actor=PIPELINE,
    )  # fmt: skip
    return transfers.send(transfer.pk, user=user, actor=PIPELINE)


def a_transfer_forgets_where_its_goods_are(world: World) -> Named:
    transfer = on_their_way(world)
    sql("UPDATE inventory_transferline SET received = 1 WHERE transfer_id = %s", transfer.pk)
    return "transfer", transfer.pk


def goods_leave_and_go_nowhere(world: World) -> Named:
    transfer = on_their_way(world)
    sql(
        "DELETE FROM inventory_stockmovement WHERE document = %s AND target = 'transit'",
        f"transfer:{transfer.pk}",
    )
    sql("UPDATE inventory_stocklevel SET in_transit = 0 WHERE in_transit > 0")
    return "transfer", transfer.pk


def goods_on_their_way_melt(world: World) -> Named:
    transfer = on_their_way(world)
    where = StockLevel.objects.get(virtual_warehouse=transfer.target_id, sku__code="SOFA")
    sql("UPDATE inventory_stocklevel SET in_transit = 2 WHERE id = %s", where.pk)
    return "stock_level", where.pk


def an_arrival_is_on_paper_only(world: World) -> Named:
    where = level("EAST", "LAMP")
    inbound = arrivals.announce(
        where.virtual_warehouse_id, {where.sku_id: 10}, expected_at=clock_now(),
        user=world.people.supervisor, actor=PIPELINE,
    )  # fmt: skip
    sql("UPDATE inventory_inboundline SET received = 4 WHERE inbound_id = %s", inbound.pk)
    return "inbound", inbound.pk


def damaged_goods_appear(world: World) -> Named:
    where = level("EAST", "LAMP")
    sql("UPDATE inventory_stocklevel SET defect = 1 WHERE id = %s", where.pk)
    return "stock_level", where.pk


def a_promise_changes_shelves(world: World) -> Named:
    other = level("TWIN", "SOFA")
    sql(
        "UPDATE inventory_reservation SET level_id = %s WHERE id = %s",
        other.pk,
        promise(world.routed).pk,
    )
    return "stock_level", other.pk


def a_line_shrinks(world: World) -> Named:
    line = one_line(world.routed)
    sql("UPDATE orders_orderline SET quantity = 1 WHERE id = %s", line.pk)
    return "order_line", line.pk


def one_line_is_promised_twice(world: World) -> Named:
    kept, line = promise(world.routed), one_line(world.routed)
    sql("UPDATE inventory_reservation SET quantity = 1 WHERE id = %s", kept.pk)
    sql("UPDATE inventory_stockmovement SET quantity = 1 WHERE reservation_id = %s", kept.pk)
    sql("UPDATE inventory_stocklevel SET reserved = reserved - 1 WHERE id = %s", kept.level_id)
    overpromise(world.routed, level("TWIN", "SOFA"), 1)
    return "order_line", line.pk


def a_promise_ends_without_a_time(world: World) -> Named:
    ended = promise(world.expired)
    sql("UPDATE inventory_reservation SET closed_at = NULL WHERE id = %s", ended.pk)
    return "reservation", ended.pk


def a_promise_ends_twice(world: World) -> Named:
    ended = promise(world.expired)
    for source, target in (("available", "reserved"), ("reserved", "available")):
        sql(
            "INSERT INTO inventory_stockmovement (level_id, source, target, quantity, "
            "reservation_id, reason, actor, created_at) "
            "VALUES (%s, %s, %s, 1, %s, 'again', 'job:test', now())",
            ended.level_id, source, target, ended.pk,
        )  # fmt: skip
    return "reservation", ended.pk


def one_promise_leaves_in_two_parcels(world: World) -> Named:
    used = promise(world.reviewed)
    sql(
        "INSERT INTO fulfillment_parcelline (parcel_id, line_id, sku_id, reservation_id, quantity) "
        "SELECT %s, line_id, sku_id, reservation_id, quantity FROM fulfillment_parcelline "
        "WHERE reservation_id = %s",
        parcel_of(world.shipped).pk, used.pk,
    )  # fmt: skip
    return "reservation", used.pk


def stock_is_given_back_behind_the_order(world: World) -> Named:
    inventory.release([world.unpaid.pk], reason="mistake", actor=PIPELINE)
    return "order", world.unpaid.pk


def more_is_promised_than_was_ever_received(world: World) -> Named:
    where = level("APART", "RARE")
    sql("DELETE FROM inventory_stockmovement WHERE level_id = %s", where.pk)
    sql("UPDATE inventory_stocklevel SET on_hand = 0 WHERE id = %s", where.pk)
    overpromise(world.short, level("EAST", "RARE"), 6)
    return "sku", where.sku_id


def an_unpaid_promise_outlives_its_time(world: World) -> Named:
    sql(
        "UPDATE inventory_reservation SET expires_at = %s WHERE order_id = %s",
        clock_now() - timedelta(seconds=90), world.unpaid.pk,
    )  # fmt: skip
    return "order", world.unpaid.pk


def an_unpaid_promise_never_ends(world: World) -> Named:
    sql("UPDATE inventory_reservation SET expires_at = NULL WHERE order_id = %s", world.unpaid.pk)
    return "order", world.unpaid.pk


def a_promise_expires_early(world: World) -> Named:
    sql(
        "UPDATE inventory_reservation SET expires_at = closed_at + interval '1 minute' "
        "WHERE order_id = %s",
        world.expired.pk,
    )
    return "order", world.expired.pk


def payment_does_not_keep_the_promise(world: World) -> Named:
    sql(
        "UPDATE inventory_reservation SET expires_at = %s WHERE order_id = %s",
        clock_now() + timedelta(minutes=5), world.paid_later.pk,
    )  # fmt: skip
    return "order", world.paid_later.pk


def a_paid_order_is_short_and_nobody_knows(world: World) -> Named:
    sql("UPDATE orders_orderhold SET kind = 'person' WHERE order_id = %s AND kind = 'shortage'",
        world.short.pk)  # fmt: skip
    return "order", world.short.pk


def a_canceled_order_keeps_its_stock(world: World) -> Named:
    kept = promise(world.canceled)
    sql(
        "UPDATE inventory_reservation SET state = 'active', closed_at = NULL, close_reason = '' "
        "WHERE id = %s",
        kept.pk,
    )
    sql(
        "DELETE FROM inventory_stockmovement WHERE reservation_id = %s AND target = 'available'",
        kept.pk,
    )
    sql(
        "UPDATE inventory_stocklevel SET reserved = reserved + %s WHERE id = %s",
        kept.quantity, kept.level_id,
    )  # fmt: skip
    return "order", world.canceled.pk


def a_promise_names_another_order(world: World) -> Named:
    moved = promise(world.second)
    sql("UPDATE inventory_reservation SET order_id = %s WHERE id = %s", world.routed.pk, moved.pk)
    return "reservation", moved.pk


def nobody_signs_for_a_promise(world: World) -> Named:
    kept = promise(world.second)
    sql("UPDATE inventory_stockmovement SET actor = 'somebody' WHERE reservation_id = %s", kept.pk)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM inventory_stockmovement WHERE reservation_id = %s", [kept.pk]
        )
        return "stock_movement", cursor.fetchone()[0]


def what_waits_holds_stock(world: World) -> Named:
    return _leaves(world.routed, "later")


def a_line_is_gone_that_lies_here(world: World) -> Named:
    return _leaves(world.routed, "gone")


def a_part_waits_of_an_order_that_is_over(world: World) -> Named:
    return _leaves(world.shipped, "later")


def _leaves(order: SalesOrder, when: str) -> Named:
    line = order.lines.filter(sku__isnull=False).first()
    assert line is not None
    sql("UPDATE orders_orderline SET leaves = %s WHERE id = %s", when, line.pk)
    return ("order_line", line.pk)


def half_a_set_is_promised(world: World) -> Named:
    order = world.set_expired
    part = order.lines.filter(bundle_line__isnull=False).order_by("pk").first()
    assert part is not None
    assert part.sku_id is not None
    (grant,) = inventory.reserve_many(
        [
            StockRequest(
                order.pk,
                (Demand(part.pk, part.sku_id, part.quantity),),
                (level("EAST", "LAMP").virtual_warehouse_id,),
                clock_now() + timedelta(minutes=30),
            )
        ],
        actor=PIPELINE,
    )
    assert grant.granted
    return "order", order.pk


# --- what came in --------------------------------------------------------------------------


def one_platform_order_comes_twice(world: World) -> Named:
    sql(
        "UPDATE orders_salesorder SET channel_number = %s WHERE id = %s",
        world.routed.channel_number, world.second.pk,
    )  # fmt: skip
    return "order", world.second.pk


def one_platform_order_comes_twice_with_a_blank(world: World) -> Named:
    sql(
        "UPDATE orders_salesorder SET channel_number = %s WHERE id = %s",
        f"{world.routed.channel_number} ", world.second.pk,
    )  # fmt: skip
    return "order", world.second.pk


def a_message_is_done_without_an_order(world: World) -> Named:
    channels.store(
        [RawMessage(MessageKind.ORDER, b'{"tid":"42"}', "42")],
        source=InboxMessage.Source.POLL,
        shop_id=world.shop.pk,
    )
    message = InboxMessage.objects.get(channel_number="42")
    channels.done([message.pk], now=clock_now())
    return "inbox_message", message.pk


def a_shop_is_forgotten(world: World) -> Named:
    sql(
        "UPDATE channels_sync_synccursor SET next_due_at = %s WHERE shop_id = %s",
        clock_now() - timedelta(hours=1), world.shop.pk,
    )  # fmt: skip
    return "shop", world.shop.pk


def a_failed_poll_leaves_no_trace(world: World) -> Named:
    sql(
        "UPDATE channels_sync_synccursor SET last_error_at = last_ok_at + interval '1 second' "
        "WHERE shop_id = %s",
        world.shop.pk,
    )
    return "shop", world.shop.pk


def a_cursor_runs_ahead(world: World) -> Named:
    sql(
        "UPDATE channels_sync_feedcursor SET position = %s WHERE shop_id = %s AND feed = 'orders'",
        clock_now() - timedelta(seconds=60), world.shop.pk,
    )  # fmt: skip
    return "shop", world.shop.pk


def a_cursor_goes_back(world: World) -> Named:
    for table in ("feedcursor", "syncwindow"):
        sql(
            f"UPDATE channels_sync_{table} SET position = position - interval '9 minutes' "  # noqa: S608 - own constant
            "WHERE shop_id = %s",
            world.shop.pk,
        )
    return "shop", world.shop.pk


def a_window_leaves_a_gap(world: World) -> Named:
    sql(
        "UPDATE channels_sync_syncwindow SET start = was - interval '59 seconds' "
        "WHERE shop_id = %s",
        world.shop.pk,
    )
    return "shop", world.shop.pk


def any_message() -> InboxMessage:
    found = InboxMessage.objects.order_by("pk").first()
    assert found is not None
    return found


def the_bytes_change(world: World) -> Named:
    message = any_message()
    sql(
        "UPDATE channels_sync_inboxmessage SET body = body || '\\x20'::bytea WHERE id = %s",
        message.pk,
    )
    return "inbox_message", message.pk


def a_message_dies_without_a_reason(world: World) -> Named:
    message = any_message()
    sql("UPDATE channels_sync_inboxmessage SET state = 'dead' WHERE id = %s", message.pk)
    return "inbox_message", message.pk


def a_message_is_tried_for_ever(world: World) -> Named:
    channels.store(
        [RawMessage(MessageKind.ORDER, b'{"tid":"43"}', "43")],
        source=InboxMessage.Source.POLL,
        shop_id=world.shop.pk,
    )
    message = InboxMessage.objects.get(channel_number="43")
    sql("UPDATE channels_sync_inboxmessage SET attempts = 8 WHERE id = %s", message.pk)
    return "inbox_message", message.pk


def a_message_is_in_no_state(world: World) -> Named:
    message = any_message()
    sql("UPDATE channels_sync_inboxmessage SET state = 'lost' WHERE id = %s", message.pk)
    return "inbox_message", message.pk


def a_fen_is_added_to_an_order(world: World) -> Named:
    sql(
        "UPDATE orders_salesorder SET payable_amount = payable_amount + 0.01, "
        "paid_amount = paid_amount + 0.01 WHERE id = %s",
        world.routed.pk,
    )
    return "order", world.routed.pk


def too_little_was_paid(world: World) -> Named:
    sql("UPDATE orders_salesorder SET paid_amount = 0.01 WHERE id = %s", world.routed.pk)
    return "order", world.routed.pk


def a_fen_is_lost_in_a_set(world: World) -> Named:
    part = world.bundle.lines.filter(bundle_line__isnull=False).order_by("pk").first()
    assert part is not None
    sql("UPDATE orders_orderline SET amount = amount - 0.01 WHERE id = %s", part.pk)
    return "order", world.bundle.pk


# --- holds, labels, parcels ----------------------------------------------------------------


def a_label_is_printed_while_held(world: World) -> Named:
    hold = hold_of(world.reviewed)
    sql(
        "UPDATE fulfillment_waybill SET order_version = %s WHERE id = %s",
        hold.opened_version, label_of(world.reviewed).pk,
    )  # fmt: skip
    return "order", world.reviewed.pk


def a_parcel_leaves_while_held(world: World) -> Named:
    hold = hold_of(world.reviewed)
    sql(
        "UPDATE fulfillment_parcel SET shipped_version = %s WHERE order_id = %s",
        hold.opened_version, world.reviewed.pk,
    )  # fmt: skip
    return "order", world.reviewed.pk


def a_label_comes_after_the_freeze(world: World) -> Named:
    version = label_of(world.labelled).order_version
    assert version
    OrderHoldFactory.create(order=world.labelled, kind="person", opened_version=version - 1)
    return "order", world.labelled.pk


def a_label_has_no_version(world: World) -> Named:
    found = label_of(world.labelled)
    sql("UPDATE fulfillment_waybill SET order_version = NULL WHERE id = %s", found.pk)
    return "waybill", found.pk


def a_reviewer_lifts_a_freeze(world: World) -> Named:
    sql(
        "UPDATE orders_orderhold SET tier = '3', asked_by = 'person:0' WHERE order_id = %s",
        world.reviewed.pk,
    )
    return "order", world.reviewed.pk


def a_job_lifts_a_hold(world: World) -> Named:
    sql(
        "UPDATE orders_orderhold SET released_by = 'job:pipeline' WHERE order_id = %s",
        world.reviewed.pk,
    )
    return "order", world.reviewed.pk


def the_asker_approves(world: World) -> Named:
    sql(
        "UPDATE orders_orderhold SET asked_by = released_by WHERE order_id = %s",
        world.pardoned.pk,
    )
    return "order", world.pardoned.pk


def the_releaser_had_no_such_role(world: World) -> Named:
    sql(
        "UPDATE audit_auditrecord SET actor_role = 'packer' WHERE object_type = 'order' "
        "AND object_id = %s AND action = 'hold_released'",
        world.pardoned.pk,
    )
    return "order", world.pardoned.pk


def a_hold_is_opened_by_no_version(world: World) -> Named:
    hold = hold_of(world.frozen)
    sql("UPDATE orders_orderhold SET opened_version = 999 WHERE id = %s", hold.pk)
    return "hold", hold.pk


def an_interception(**facts: Any) -> Interception:
    now = clock_now()
    return Interception.objects.create(
        text="江苏省暂停发货", condition={"places": [["江苏省", "", ""]]}, words="江苏省暂停发货",
        reason="台风", asked_by="person:1", asked_at=now, started_at=now, **facts,
    )  # fmt: skip


def an_order_slips_through_a_gate(world: World) -> Named:
    an_interception(state="active", held_at=clock_now())
    return "order", world.routed.pk


def an_interception_that_is_over_holds_on(world: World) -> Named:
    over = an_interception(state="lifted", ended_at=clock_now(), freed_at=clock_now())
    OrderHoldFactory.create(
        order=world.routed, kind="intercept", code=f"i{over.pk}", interception=over,
        opened_version=world.routed.version,
    )  # fmt: skip
    return "order", world.routed.pk


def an_interception_never_ends(world: World) -> Named:
    row = an_interception(state="active", ends_at=clock_now() - timedelta(minutes=11))
    return "interception", row.pk


def a_hold_names_no_interception(world: World) -> Named:
    OrderHoldFactory.create(
        order=world.routed, kind="intercept", code="i0", opened_version=world.routed.version
    )
    return "order", world.routed.pk


def a_canceled_order_is_still_held(world: World) -> Named:
    OrderHoldFactory.create(
        order=world.canceled, kind="person", opened_version=world.canceled.version
    )
    return "order", world.canceled.pk


def one_reason_stands_twice(world: World) -> Named:
    hold = hold_of(world.frozen)
    OrderHoldFactory.create(
        order=world.frozen, kind=hold.kind, code=hold.code, opened_version=hold.opened_version
    )
    return "order", world.frozen.pk


def a_step_is_skipped(world: World) -> Named:
    sql(
        "UPDATE audit_auditrecord SET change = jsonb_set(change, '{status}', "
        """'[null, "received", "routed"]') """
        "WHERE object_type = 'order' AND object_id = %s AND version = 1",
        world.routed.pk,
    )
    return "order", world.routed.pk


def two_labels_are_live(world: World) -> Named:
    first = label_of(world.labelled)
    WaybillFactory.create(
        parcel=first.parcel, client_reference="again", order_version=first.order_version
    )
    return "parcel", first.parcel_id


def one_number_is_on_two_parcels(world: World) -> Named:
    first, second = label_of(world.labelled), label_of(world.shipped)
    sql("UPDATE fulfillment_waybill SET number = %s WHERE id = %s", first.number, second.pk)
    return "waybill", max(first.pk, second.pk)


def an_intent_is_forgotten(world: World) -> Named:
    made = WaybillFactory.create(
        parcel=parcel_of(world.routed), state=Waybill.State.INTENT, number="",
        created_at=clock_now() - timedelta(minutes=11),
    )  # fmt: skip
    return "waybill", made.pk


def a_void_number_is_kept(world: World) -> Named:
    void = label_of(world.canceled)
    sql(
        "UPDATE fulfillment_waybill SET voided_at = %s WHERE id = %s",
        clock_now() - timedelta(minutes=11), void.pk,
    )  # fmt: skip
    return "waybill", void.pk


def a_label_is_printed_after_the_cancel(world: World) -> Named:
    sql(
        "UPDATE fulfillment_waybill SET order_version = %s WHERE id = %s",
        world.canceled.version, label_of(world.canceled).pk,
    )  # fmt: skip
    return "order", world.canceled.pk


def the_parcel_of_a_canceled_order_goes_on(world: World) -> Named:
    sql("UPDATE fulfillment_parcel SET state = 'packed' WHERE order_id = %s", world.canceled.pk)
    return "order", world.canceled.pk


def a_refund_stops_nothing(world: World) -> Named:
    RefundRequestFactory.create(
        shop=world.shop, order=world.routed, channel_number=world.routed.channel_number
    )
    return "order", world.routed.pk


def a_late_refund_has_no_case(world: World) -> Named:
    RefundRequestFactory.create(
        shop=world.shop, order=world.shipped, channel_number=world.shipped.channel_number
    )
    return "order", world.shipped.pk


def nobody_judged_it(world: World) -> Named:
    sql("DELETE FROM risk_verdict WHERE order_id = %s", world.routed.pk)
    return "order", world.routed.pk


def the_address_changed_after_the_verdict(world: World) -> Named:
    sql(
        "UPDATE audit_auditrecord SET change = change || jsonb_build_object('district', "
        "jsonb_build_array('姑苏区', %s::text)) "
        "WHERE object_type = 'order' AND object_id = %s AND action = 'stage_done'",
        world.shipped.district, world.shipped.pk,
    )  # fmt: skip
    return "order", world.shipped.pk


def the_platform_is_never_told(world: World) -> Named:
    sql("DELETE FROM channels_sync_outboundmessage WHERE order_id = %s", world.shipped.pk)
    return "parcel", parcel_of(world.shipped).pk


# --- the trail -----------------------------------------------------------------------------


def a_record_disappears(world: World) -> Named:
    sql(
        "DELETE FROM audit_auditrecord WHERE object_type = 'order' AND object_id = %s "
        "AND action = 'stage_done'",
        world.shipped.pk,
    )
    return "order", world.shipped.pk


def an_order_moves_without_a_record(world: World) -> Named:
    sql("UPDATE orders_salesorder SET status = 'cleared' WHERE id = %s", world.second.pk)
    return "order", world.second.pk


def a_field_changes_without_a_record(world: World) -> Named:
    sql(
        "UPDATE orders_salesorder SET channel_status = 'on_hold' WHERE id = %s",
        world.paid_later.pk,
    )
    return "order", world.paid_later.pk


def a_record_has_no_author(world: World) -> Named:
    sql(
        "UPDATE audit_auditrecord SET actor_id = '' WHERE object_type = 'order' "
        "AND object_id = %s AND version = 1",
        world.second.pk,
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM audit_auditrecord WHERE actor_id = ''")
        return "audit_record", cursor.fetchone()[0]


def a_trigger_is_switched_off(world: World) -> Named:
    sql("ALTER TABLE orders_salesorder DISABLE TRIGGER guard_status")
    return "trigger", "guard_status"


def a_constraint_is_dropped(world: World) -> Named:
    sql("ALTER TABLE inventory_stocklevel DROP CONSTRAINT never_oversold")
    return "constraint", "never_oversold"


def the_application_may_rewrite_the_trail(world: World) -> Named:
    sql(f"GRANT UPDATE ON audit_auditrecord TO {settings.APP_DATABASE_ROLE}")
    return "right", "UPDATE audit_auditrecord"


def units_are_locked_for_nobody(world: World) -> Named:
    level = StockLevel.objects.first()
    assert level is not None
    sql("UPDATE inventory_stocklevel SET locked = locked + 1 WHERE id = %s", level.pk)
    return "stock_level", level.pk


def a_slice_forgets_what_it_sold(world: World) -> Named:
    row = StockSlice.objects.create(
        level=StockLevel.objects.all()[0], shop=world.shop, quantity=2, unsold=0, is_active=False
    )
    return "stock_slice", row.pk


def units_are_taken_back_for_an_order_that_holds_none(world: World) -> Named:
    line = world.canceled.lines.filter(sku__isnull=False).first()
    assert line is not None
    row = StockSlice.objects.create(
        level=StockLevel.objects.filter(sku=line.sku)[0],
        shop=ShopFactory.create(is_active=False), quantity=0, unsold=0, is_active=False,
    )  # fmt: skip
    claw = ClawBack.objects.create(
        line=line, order_id=line.order_id, slice=row, quantity=1, amount=0, currency="CNY",
        taken_at=clock_now(),
    )  # fmt: skip
    return "claw_back", claw.pk


def a_listing_changes_without_a_version(world: World) -> Named:
    listing = Listing.objects.filter(shop=world.shop, sku__isnull=False).order_by("pk")[0]
    other = Sku.objects.exclude(pk=listing.sku_id or 0).order_by("pk")[0]
    sql("UPDATE catalog_listing SET sku_id = %s WHERE id = %s", other.pk, listing.pk)
    return "listing", listing.pk


OVERSOLD: Final = (
    ("inventory_stocklevel", "never_oversold"),
    ("inventory_stocklevel", "slices_fit"),
)
SABOTEURS: Final = (
    Saboteur("S1", promised_beyond_the_shelf, dropping=OVERSOLD),
    Saboteur("S2", a_unit_appears),
    Saboteur("S2", the_ledger_is_rewritten, through=[MOVEMENTS]),
    Saboteur("S2", a_transfer_forgets_where_its_goods_are),
    Saboteur("S2", goods_leave_and_go_nowhere, through=[MOVEMENTS]),
    Saboteur("S2", goods_on_their_way_melt),
    Saboteur("S2", an_arrival_is_on_paper_only),
    Saboteur("S2", damaged_goods_appear),
    Saboteur("S3", a_promise_changes_shelves),
    Saboteur("S4", a_line_shrinks),
    Saboteur("S4", one_line_is_promised_twice, through=[MOVEMENTS]),
    Saboteur("S5", a_promise_ends_without_a_time),
    Saboteur("S5", a_promise_ends_twice),
    Saboteur("S5", one_promise_leaves_in_two_parcels),
    Saboteur("S6", stock_is_given_back_behind_the_order),
    Saboteur(
        "S6",
        more_is_promised_than_was_ever_received,
        through=[MOVEMENTS],
        dropping=OVERSOLD,
        implied=["S1"],
    ),
    Saboteur("S8", an_unpaid_promise_outlives_its_time),
    Saboteur("S8", an_unpaid_promise_never_ends),
    Saboteur("S8", a_promise_expires_early),
    Saboteur("S8", payment_does_not_keep_the_promise),
    Saboteur("S8", a_paid_order_is_short_and_nobody_knows),
    Saboteur("S9", a_canceled_order_keeps_its_stock, through=[MOVEMENTS]),
    Saboteur("S10", a_promise_names_another_order),
    Saboteur("S10", nobody_signs_for_a_promise, through=[MOVEMENTS]),
    Saboteur("S11", half_a_set_is_promised),
    Saboteur("S15", what_waits_holds_stock),
    Saboteur("S15", a_line_is_gone_that_lies_here),
    Saboteur("S15", a_part_waits_of_an_order_that_is_over),
    Saboteur("S13", units_are_locked_for_nobody),
    Saboteur("S13", a_slice_forgets_what_it_sold),
    Saboteur("S14", units_are_taken_back_for_an_order_that_holds_none),
    Saboteur("I1", one_platform_order_comes_twice, dropping=[("orders_salesorder", "order_once")]),
    Saboteur("I1", one_platform_order_comes_twice_with_a_blank),
    Saboteur("I1", a_message_is_done_without_an_order),
    Saboteur("I3", a_shop_is_forgotten),
    Saboteur("I3", a_failed_poll_leaves_no_trace),
    Saboteur("I4", a_cursor_runs_ahead),
    Saboteur("I4", a_cursor_goes_back),
    Saboteur("I4", a_window_leaves_a_gap),
    Saboteur("I6", the_bytes_change, through=[BYTES]),
    Saboteur("I6", a_message_dies_without_a_reason),
    Saboteur("I6", a_message_is_tried_for_ever),
    Saboteur(
        "I6",
        a_message_is_in_no_state,
        dropping=[("channels_sync_inboxmessage", "message_state")],
    ),
    Saboteur("I8", a_fen_is_added_to_an_order),
    Saboteur("I8", too_little_was_paid),
    Saboteur("I8", a_fen_is_lost_in_a_set),
    Saboteur("R1", a_label_is_printed_while_held),
    Saboteur("R1", a_parcel_leaves_while_held),
    Saboteur("R1", a_label_comes_after_the_freeze),
    Saboteur("R1", a_label_has_no_version),
    Saboteur("R2", a_reviewer_lifts_a_freeze),
    Saboteur("R2", a_job_lifts_a_hold),
    Saboteur(
        "R2", the_asker_approves, dropping=[("orders_orderhold", "hold_not_released_by_asker")]
    ),
    Saboteur("R2", the_releaser_had_no_such_role, through=[AUDIT]),
    Saboteur("R9", an_order_slips_through_a_gate),
    Saboteur("R9", an_interception_that_is_over_holds_on),
    Saboteur("R9", an_interception_never_ends),
    Saboteur("R9", a_hold_names_no_interception),
    Saboteur("R3", a_hold_is_opened_by_no_version),
    Saboteur("R3", a_canceled_order_is_still_held),
    Saboteur("R3", one_reason_stands_twice, dropping=[("orders_orderhold", "hold_open_once")]),
    Saboteur("R4", a_step_is_skipped, through=[AUDIT]),
    Saboteur("R5", two_labels_are_live, dropping=[("fulfillment_waybill", "one_live_waybill")]),
    Saboteur(
        "R5",
        one_number_is_on_two_parcels,
        dropping=[("fulfillment_waybill", "tracking_number_once")],
    ),
    Saboteur("R5", an_intent_is_forgotten),
    Saboteur("R5", a_void_number_is_kept),
    Saboteur("R6", a_label_is_printed_after_the_cancel),
    Saboteur("R6", the_parcel_of_a_canceled_order_goes_on),
    Saboteur("R6", a_refund_stops_nothing),
    Saboteur("R6", a_late_refund_has_no_case),
    Saboteur("R8", nobody_judged_it),
    Saboteur("R8", the_address_changed_after_the_verdict, through=[AUDIT]),
    Saboteur("R10", the_platform_is_never_told),
    Saboteur("A1", a_record_disappears, through=[AUDIT]),
    Saboteur("A1", an_order_moves_without_a_record),
    Saboteur("A1", a_field_changes_without_a_record),
    Saboteur("A1", a_record_has_no_author, through=[AUDIT]),
    Saboteur("C1", a_listing_changes_without_a_version),
    Saboteur("W1", a_trigger_is_switched_off),
    Saboteur("W1", a_constraint_is_dropped),
    Saboteur("W1", the_application_may_rewrite_the_trail),
)
