"""Orders as integrators read them: ids and money as text, receivers masked."""

from rest_framework import serializers

from fulfillment.models import Parcel, Waybill
from ordercenter.orders.models import OrderHold, OrderLine, SalesOrder


class OrderSerializer(serializers.ModelSerializer[SalesOrder]):
    """One row of the list."""

    id = serializers.CharField(source="pk")
    shop = serializers.CharField(source="shop.code")
    channel = serializers.CharField(source="shop.channel")
    receiver = serializers.CharField(source="receiver_masked")
    held = serializers.BooleanField(source="is_held")

    class Meta:
        model = SalesOrder
        fields = [
            "id",
            "number",
            "shop",
            "channel",
            "channel_number",
            "status",
            "version",
            "held",
            "channel_status",
            "refund_state",
            "currency",
            "payable_amount",
            "paid_amount",
            "freight",
            "placed_at",
            "paid_at",
            "received_at",
            "province",
            "city",
            "district",
            "receiver",
            "has_gift",
            "is_rush",
            "is_test",
            "is_presale",
            "priority",
        ]


class LineSerializer(serializers.ModelSerializer[OrderLine]):
    sku = serializers.CharField(source="sku.code", default=None)
    bundle = serializers.CharField(source="bundle.code", default=None)

    class Meta:
        model = OrderLine
        fields = [
            "line_no",
            "channel_line_id",
            "outer_code",
            "title",
            "sku",
            "bundle",
            "quantity",
            "unit_price",
            "amount",
            "is_gift",
            "leaves",
            "refund_state",
        ]


class HoldSerializer(serializers.ModelSerializer[OrderHold]):
    class Meta:
        model = OrderHold
        fields = ["kind", "code", "tier", "words", "disposition", "opened_at"]


class ParcelSerializer(serializers.ModelSerializer[Parcel]):
    warehouse = serializers.CharField(source="warehouse.code")
    carrier = serializers.SerializerMethodField()
    tracking_number = serializers.SerializerMethodField()

    class Meta:
        model = Parcel
        fields = [
            "number",
            "warehouse",
            "state",
            "carrier",
            "tracking_number",
            "shipped_at",
            "signed_at",
        ]

    def get_carrier(self, parcel: Parcel) -> str:
        waybill = _live(parcel)
        return waybill.carrier if waybill else ""

    def get_tracking_number(self, parcel: Parcel) -> str:
        waybill = _live(parcel)
        return waybill.number if waybill else ""


def _live(parcel: Parcel) -> Waybill | None:
    live = (bill for bill in parcel.waybills.all() if bill.state == Waybill.State.LIVE)
    return next(live, None)


class OrderDetailSerializer(OrderSerializer):
    lines = LineSerializer(many=True)
    holds = HoldSerializer(many=True, source="open_holds")
    parcels = ParcelSerializer(many=True)

    class Meta(OrderSerializer.Meta):
        fields = [*OrderSerializer.Meta.fields, "lines", "holds", "parcels"]
