"""The smallest valid thing of each kind; a test names only what it is about.

Write ``ShopFactory.create(...)``: the type checker takes the short form for a factory.
"""

# factory_boy says it is typed and is not.
# mypy: disable-error-code="attr-defined,no-untyped-call,untyped-decorator"

from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any, Final

import factory
from django.contrib.auth.models import Group, User
from django.utils import timezone
from factory.django import DjangoModelFactory

from channels_sync.models import (
    ApiToken,
    FieldMap,
    InboxMessage,
    OutboundMessage,
    ShopCredential,
    SyncCursor,
)
from fulfillment.models import (
    AddressRequest,
    CarrierAccount,
    Parcel,
    ParcelLine,
    ParcelStop,
    RefundRequest,
    Stage,
    StageClock,
    StageTask,
    TraceEvent,
    Waybill,
)
from inventory.models import (
    Reservation,
    StockLevel,
    StockMovement,
    VirtualWarehouse,
    Warehouse,
    WarehouseAssignment,
)
from ordercenter.catalog import gifts
from ordercenter.catalog.models import (
    Bundle,
    BundlePart,
    Channel,
    CodeType,
    GiftStrategy,
    GiftTier,
    Listing,
    ListingVersion,
    Shop,
    ShopAssignment,
    Sku,
)
from ordercenter.core.masking import mask_name, mask_phone
from ordercenter.core.policy import Role, Scope
from ordercenter.core.sealing import seal
from ordercenter.notices.models import Notice, Robot
from ordercenter.orders.models import (
    RECEIVER_PURPOSE,
    OrderEvidence,
    OrderHold,
    OrderLine,
    SalesOrder,
)
from ordercenter.orders.states import HoldKind, OrderStatus, Tier
from risk.models import RuleSet, Verdict

PASSWORD = "four-words-make-a-password"
_TOKENS: Final = count(1)
NOBODY = {"kind": "job", "id": "pipeline", "name": "pipeline", "role": ""}


def user_with(*roles: Role, username: str = "", **fields: Any) -> User:
    """Return a member of staff who may log in with ``PASSWORD`` and has these roles."""
    name = username or "-".join(["user", *(role.value for role in roles)])
    user = UserFactory.create(username=name, **fields)
    user.groups.set(Group.objects.get_or_create(name=role.value)[0] for role in roles)
    return user


def key_for(user: User, *scopes: Scope, all_shops: bool = True, **fields: Any) -> str:
    """The key of a new token of this account; without ``scopes`` it may do nothing."""
    facts = {"name": f"token {next(_TOKENS)}", "created_at": timezone.now(), **fields}
    token = ApiToken(user=user, scopes=[*scopes], all_shops=all_shops, **facts)
    key = token.mint()
    token.save()
    return key


class UserFactory(DjangoModelFactory[User]):
    class Meta:
        model = User
        django_get_or_create = ["username"]
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"user{n}")
    is_staff = True
    password = factory.django.Password(PASSWORD)


class ShopFactory(DjangoModelFactory[Shop]):
    class Meta:
        model = Shop

    code = factory.Sequence(lambda n: f"shop-{n}")
    name = factory.Sequence(lambda n: f"家居旗舰店{n}")
    channel = Channel.TAOBAO


class ShopAssignmentFactory(DjangoModelFactory[ShopAssignment]):
    class Meta:
        model = ShopAssignment

    user = factory.SubFactory(UserFactory)
    shop = factory.SubFactory(ShopFactory)


class ShopCredentialFactory(DjangoModelFactory[ShopCredential]):
    class Meta:
        model = ShopCredential

    shop = factory.SubFactory(ShopFactory)
    base_url = "http://127.0.0.1:1/"
    app_key = "app"

    @factory.lazy_attribute
    def sealed(self) -> bytes:
        secrets = {"app_secret": "app-secret", "access_token": "access-token"}
        return seal(secrets, purpose="shop-credential")


class SyncCursorFactory(DjangoModelFactory[SyncCursor]):
    class Meta:
        model = SyncCursor

    shop = factory.SubFactory(ShopFactory)
    next_due_at = factory.LazyFunction(timezone.now)


class FieldMapFactory(DjangoModelFactory[FieldMap]):
    class Meta:
        model = FieldMap

    channel = Channel.OPENJSON
    version = factory.Sequence(lambda n: n + 1)
    mapping = factory.LazyFunction(dict)
    created_at = factory.LazyFunction(timezone.now)


class SkuFactory(DjangoModelFactory[Sku]):
    class Meta:
        model = Sku

    code = factory.Sequence(lambda n: f"SKU-{n:04}")
    name = factory.Sequence(lambda n: f"棉麻靠垫{n}")
    base_price = Decimal("100.00")


class BundleFactory(DjangoModelFactory[Bundle]):
    class Meta:
        model = Bundle

    code = factory.Sequence(lambda n: f"BUNDLE-{n:03}")
    name = factory.Sequence(lambda n: f"四件套{n}")


class BundlePartFactory(DjangoModelFactory[BundlePart]):
    class Meta:
        model = BundlePart

    bundle = factory.SubFactory(BundleFactory)
    sku = factory.SubFactory(SkuFactory)
    quantity = 1


class ListingFactory(DjangoModelFactory[Listing]):
    class Meta:
        model = Listing
        skip_postgeneration_save = True

    shop = factory.SubFactory(ShopFactory)
    code_type = CodeType.OUTER_CODE
    code = factory.Sequence(lambda n: f"CODE-{n}")
    sku = factory.SubFactory(SkuFactory)

    @factory.post_generation
    def first_version(self: Any, create: bool, extracted: Any, **_: Any) -> None:
        ListingVersion.objects.create(
            listing=self, version=self.version, sku=self.sku, bundle=self.bundle,
            changed_by="somebody", changed_at=timezone.now(),
        )  # fmt: skip


class GiftStrategyFactory(DjangoModelFactory[GiftStrategy]):
    class Meta:
        model = GiftStrategy

    code = factory.Sequence(lambda n: f"gift-{n}")
    name = "满赠"
    gift_sku = factory.SubFactory(SkuFactory, is_gift=True)
    min_amount = Decimal("99.00")

    @classmethod
    def _create(cls, model_class: type[GiftStrategy], *args: Any, **kwargs: Any) -> GiftStrategy:
        gifts.forget()
        created: GiftStrategy = super()._create(model_class, *args, **kwargs)
        return created


class GiftTierFactory(DjangoModelFactory[GiftTier]):
    class Meta:
        model = GiftTier

    strategy = factory.SubFactory(GiftStrategyFactory)
    gift_sku = factory.SubFactory(SkuFactory, is_gift=True)
    min_amount = Decimal("199.00")


class WarehouseFactory(DjangoModelFactory[Warehouse]):
    class Meta:
        model = Warehouse

    code = factory.Sequence(lambda n: f"wh-{n}")
    name = factory.Sequence(lambda n: f"华东{n}号仓")
    province = "江苏省"
    city = "苏州市"


class WarehouseAssignmentFactory(DjangoModelFactory[WarehouseAssignment]):
    class Meta:
        model = WarehouseAssignment

    user = factory.SubFactory(UserFactory)
    warehouse = factory.SubFactory(WarehouseFactory)


class VirtualWarehouseFactory(DjangoModelFactory[VirtualWarehouse]):
    class Meta:
        model = VirtualWarehouse

    code = factory.Sequence(lambda n: f"vw-{n}")
    name = factory.Sequence(lambda n: f"虚拟仓{n}")
    warehouse = factory.SubFactory(WarehouseFactory)


class StockLevelFactory(DjangoModelFactory[StockLevel]):
    """A level without movements; tests of the ledger receive stock through its service."""

    class Meta:
        model = StockLevel

    virtual_warehouse = factory.SubFactory(VirtualWarehouseFactory)
    sku = factory.SubFactory(SkuFactory)


class SalesOrderFactory(DjangoModelFactory[SalesOrder]):
    """A paid order as taken in. ``name``, ``phone`` and ``address`` make its sealed receiver."""

    class Meta:
        model = SalesOrder

    class Params:
        name = "王小明"
        phone = "13800138000"
        address = "星湖街328号"

    shop = factory.SubFactory(ShopFactory)
    channel_number = factory.Sequence(lambda n: f"{9_007_199_254_740_993 + n}")
    number = factory.Sequence(lambda n: f"TB2511{n:08}")
    status = OrderStatus.RECEIVED
    channel_status = "wait_ship"
    channel_modified_at = factory.SelfAttribute("placed_at")
    currency = "CNY"
    payable_amount = Decimal("100.00")
    paid_amount = factory.SelfAttribute("payable_amount")
    freight = Decimal("0.00")
    placed_at = factory.LazyFunction(timezone.now)
    paid_at = factory.SelfAttribute("placed_at")
    received_at = factory.SelfAttribute("placed_at")
    province = "江苏省"
    city = "苏州市"
    district = "虎丘区"
    buyer_remark = ""
    seller_memo = ""
    has_gift = False
    is_rush = False
    is_test = False
    is_presale = False

    @factory.lazy_attribute
    def receiver_masked(self) -> str:
        return f"{mask_name(self.name)} {mask_phone(self.phone)}"

    @factory.lazy_attribute
    def receiver_sealed(self) -> bytes:
        receiver = {
            "name": self.name,
            "phone": self.phone,
            "province": self.province,
            "city": self.city,
            "district": self.district,
            "address": self.address,
        }
        return seal(receiver, purpose=RECEIVER_PURPOSE)


class OrderEvidenceFactory(DjangoModelFactory[OrderEvidence]):
    class Meta:
        model = OrderEvidence

    order = factory.SubFactory(SalesOrderFactory)
    shop_id = factory.SelfAttribute("order.shop_id")
    placed_at = factory.SelfAttribute("order.placed_at")
    amount = factory.SelfAttribute("order.payable_amount")
    buyer_key = ""
    device_key = ""
    phone_key = ""
    address_key = ""
    ip = ""


class OrderLineFactory(DjangoModelFactory[OrderLine]):
    class Meta:
        model = OrderLine

    order = factory.SubFactory(SalesOrderFactory)
    line_no = factory.Sequence(lambda n: n % 30_000 + 1)
    channel_line_id = factory.SelfAttribute("order.channel_number")
    platform_sku_id = ""
    outer_code = factory.SelfAttribute("sku.code")
    title = factory.SelfAttribute("sku.name")
    sku = factory.SubFactory(SkuFactory)
    quantity = 1
    unit_price = Decimal("100.00")
    amount = Decimal("100.00")
    is_gift = False
    refund_state = "none"


class OrderHoldFactory(DjangoModelFactory[OrderHold]):
    class Meta:
        model = OrderHold

    order = factory.SubFactory(SalesOrderFactory)
    kind = HoldKind.RULE
    code = "duplicate_buyer"
    tier = Tier.REVIEW
    words = "同一买家 10 分钟内下了 3 单"
    placed_by = factory.LazyFunction(lambda: dict(NOBODY))
    opened_at = factory.LazyFunction(timezone.now)
    opened_version = 1


class RuleSetFactory(DjangoModelFactory[RuleSet]):
    class Meta:
        model = RuleSet

    version = factory.Sequence(lambda n: n + 1)
    rules = factory.LazyFunction(list)


class VerdictFactory(DjangoModelFactory[Verdict]):
    class Meta:
        model = Verdict

    order = factory.SubFactory(SalesOrderFactory)
    order_version = 1
    rule_set_version = 1
    tier = Tier.REVIEW
    findings = factory.LazyFunction(list)
    facts = factory.LazyFunction(dict)
    created_at = factory.LazyFunction(timezone.now)


class ReservationFactory(DjangoModelFactory[Reservation]):
    """An active promise, counted on its level."""

    class Meta:
        model = Reservation

    line = factory.SubFactory(OrderLineFactory)
    order_id = factory.SelfAttribute("line.order_id")
    level = factory.SubFactory(
        StockLevelFactory, sku=factory.SelfAttribute("..line.sku"), on_hand=10, reserved=1
    )
    quantity = 1
    created_at = factory.LazyFunction(timezone.now)


class StockMovementFactory(DjangoModelFactory[StockMovement]):
    class Meta:
        model = StockMovement

    level = factory.SubFactory(StockLevelFactory)
    source = "outside"
    target = "available"
    quantity = 1
    reason = "receive"
    actor = "job:test"
    created_at = factory.LazyFunction(timezone.now)


class ParcelFactory(DjangoModelFactory[Parcel]):
    class Meta:
        model = Parcel

    order = factory.SubFactory(SalesOrderFactory, status=OrderStatus.ROUTED)
    number = factory.LazyAttribute(lambda parcel: f"{parcel.order.number}-1")
    warehouse = factory.SubFactory(WarehouseFactory)
    created_at = factory.LazyFunction(timezone.now)


class ParcelLineFactory(DjangoModelFactory[ParcelLine]):
    class Meta:
        model = ParcelLine

    parcel = factory.SubFactory(ParcelFactory)
    line = factory.SubFactory(OrderLineFactory, order=factory.SelfAttribute("..parcel.order"))
    sku = factory.SelfAttribute("line.sku")
    reservation = factory.SubFactory(
        ReservationFactory,
        line=factory.SelfAttribute("..line"),
        level__virtual_warehouse__warehouse=factory.SelfAttribute("....parcel.warehouse"),
    )
    quantity = 1


class WaybillFactory(DjangoModelFactory[Waybill]):
    class Meta:
        model = Waybill

    parcel = factory.SubFactory(ParcelFactory)
    client_reference = factory.LazyAttribute(lambda waybill: f"{waybill.parcel.number}-a")
    carrier = "sf"
    state = Waybill.State.LIVE
    number = factory.Sequence(lambda n: f"SF{n:013}")
    created_at = factory.LazyFunction(timezone.now)


class TraceEventFactory(DjangoModelFactory[TraceEvent]):
    class Meta:
        model = TraceEvent

    waybill = factory.SubFactory(WaybillFactory)
    event_id = factory.Sequence(str)
    code = "50"
    status = "picked_up"
    text = "顺丰速运 已收取快件"
    place = "苏州市"
    occurred_at = factory.LazyFunction(timezone.now)


class ParcelStopFactory(DjangoModelFactory[ParcelStop]):
    class Meta:
        model = ParcelStop

    parcel = factory.SubFactory(ParcelFactory)
    reason = "买家申请退款"
    where = ParcelStop.Where.BENCH
    outcome = ParcelStop.Outcome.PENDING
    asked_by = "pipeline"
    asked_at = factory.LazyFunction(timezone.now)


class StageClockFactory(DjangoModelFactory[StageClock]):
    class Meta:
        model = StageClock
        django_get_or_create = ["stage"]

    stage = Stage.PICK
    minutes = 120


class StageTaskFactory(DjangoModelFactory[StageTask]):
    class Meta:
        model = StageTask

    order = factory.SubFactory(SalesOrderFactory)
    stage = Stage.FIRST_REVIEW
    opened_at = factory.LazyFunction(timezone.now)
    due_at = factory.LazyAttribute(lambda task: task.opened_at + timedelta(minutes=30))


class RefundRequestFactory(DjangoModelFactory[RefundRequest]):
    class Meta:
        model = RefundRequest

    shop = factory.SubFactory(ShopFactory)
    refund_id = factory.Sequence(lambda n: f"R{n}")
    channel_number = "1"
    channel_line_id = ""
    amount = Decimal("100.00")
    state = "in_progress"
    state_raw = "WAIT_SELLER_AGREE"
    return_goods = False
    intercept_shipping = True
    created_at = factory.LazyFunction(timezone.now)


class AddressRequestFactory(DjangoModelFactory[AddressRequest]):
    class Meta:
        model = AddressRequest

    order = factory.SubFactory(SalesOrderFactory)
    shop = factory.SelfAttribute("order.shop")
    channel_number = factory.SelfAttribute("order.channel_number")
    asked_at = factory.LazyFunction(timezone.now)
    shown = "江苏省南京市玄武区 李*"


class InboxMessageFactory(DjangoModelFactory[InboxMessage]):
    class Meta:
        model = InboxMessage

    shop = factory.SubFactory(ShopFactory)
    source = InboxMessage.Source.POLL
    kind = "order"
    channel_number = factory.Sequence(str)
    event_id = ""
    digest = factory.Sequence(lambda n: n.to_bytes(16))
    body = b"{}"
    received_at = factory.LazyFunction(timezone.now)


class OutboundMessageFactory(DjangoModelFactory[OutboundMessage]):
    class Meta:
        model = OutboundMessage

    shop = factory.SubFactory(ShopFactory)
    kind = OutboundMessage.Kind.SHIP
    key = factory.Sequence(lambda n: f"ship:{n}")
    order_id = 1
    payload = factory.LazyFunction(dict)
    created_at = factory.LazyFunction(timezone.now)
    due_at = factory.LazyFunction(timezone.now)


class CarrierAccountFactory(DjangoModelFactory[CarrierAccount]):
    class Meta:
        model = CarrierAccount
        django_get_or_create = ["code"]

    code = "sf"
    name = "顺丰速运"
    base_url = "http://127.0.0.1:1/"
    account = "0000000000"
    sealed = b""


class RobotFactory(DjangoModelFactory[Robot]):
    class Meta:
        model = Robot

    code = factory.Sequence(lambda n: f"robot-{n}")
    name = "仓储主管群"
    kind = Robot.Kind.DINGTALK
    base_url = "http://127.0.0.1:1/"
    sealed = b""


class NoticeFactory(DjangoModelFactory[Notice]):
    class Meta:
        model = Notice

    robot = factory.SubFactory(RobotFactory)
    key = factory.Sequence(str)
    urgency = "2"
    title = "订单挂起"
    text = "有订单等待处理"
    created_at = factory.LazyFunction(timezone.now)
    due_at = factory.LazyFunction(timezone.now)
