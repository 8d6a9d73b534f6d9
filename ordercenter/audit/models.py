"""The append-only, hash-linked record of every change.

Names are copied in and nothing is a foreign key, so no deletion takes history with it.
The database refuses UPDATE, DELETE and TRUNCATE (migrations 0002 and 0009), and the role the
order center logs in with has no such right (``core.grants``).
"""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Action(models.TextChoices):
    """Every kind of record there is; a new one is a reviewed line."""

    ORDER_TAKEN = "order_taken", _("接收订单")
    ORDER_MOVED = "order_moved", _("订单推进")
    ORDER_UPDATED = "order_updated", _("平台更新订单")
    ORDER_CANCELED = "order_canceled", _("订单取消")
    ORDER_PAID = "order_paid", _("买家付款")
    HOLD_OPENED = "hold_opened", _("挂起")
    HOLD_RELEASED = "hold_released", _("解除挂起")
    HOLD_RETURNED = "hold_returned", _("退回修改")
    HOLD_HANDED = "hold_handed", _("转售后沟通")
    RELEASE_ASKED = "release_asked", _("申请解冻")
    RELEASE_REFUSED = "release_refused", _("驳回解冻")
    RECEIVER_EDITED = "receiver_edited", _("修改收货信息")
    STAGE_DONE = "stage_done", _("完成环节")
    PARCEL_SHIPPED = "parcel_shipped", _("出库")
    PARCEL_STOPPED = "parcel_stopped", _("拦截包裹")
    WAYBILL_ISSUED = "waybill_issued", _("取得面单")
    WAYBILL_VOIDED = "waybill_voided", _("作废面单")
    ORDER_SIGNED = "order_signed", _("签收")
    WRITE_BACK_DONE = "write_back_done", _("发货回传成功")
    STOCK_RECEIVED = "stock_received", _("入库")
    CATALOG_CHANGED = "catalog_changed", _("货品资料变更")
    SHOP_CHANGED = "shop_changed", _("店铺设置变更")
    RULES_CHANGED = "rules_changed", _("风控规则变更")
    ACCESS_CHANGED = "access_changed", _("账号与角色变更")
    MESSAGE_REPLAYED = "message_replayed", _("重放消息")
    MESSAGE_SETTLED = "message_settled", _("人工处理死信")
    LINE_CHANGED = "line_changed", _("店铺线路变更")
    CURSOR_RESET = "cursor_reset", _("重置读取进度")
    STOP_ANSWERED = "stop_answered", _("答复退款拦截")
    MEMO_WRITTEN = "memo_written", _("修改备注")
    ADDRESS_ANSWERED = "address_answered", _("答复改地址申请")
    RECEIVER_REVEALED = "receiver_revealed", _("查看收件人明文")
    FIELD_MAP_CHANGED = "field_map_changed", _("字段对照变更")
    STOCK_MOVED = "stock_moved", _("调拨")
    STOCK_ADJUSTED = "stock_adjusted", _("库存调整")
    STOCK_COUNTED = "stock_counted", _("盘点")
    STOCK_POLICY_CHANGED = "stock_policy_changed", _("库存策略变更")
    STOCK_CLAWED_BACK = "stock_clawed_back", _("库存回拨")
    LINE_SWAPPED = "line_swapped", _("换货发出")
    LINE_DROPPED = "line_dropped", _("取消缺货行")
    GIFTS_GIVEN = "gifts_given", _("赠品变更")
    ORDERS_PAIRED = "orders_paired", _("关联定金与尾款")
    ACCESS_REFUSED = "access_refused", _("越权被拒")
    PRESALE_PROMISED = "presale_promised", _("预售承诺")
    CATALOG_EXPORTED = "catalog_exported", _("导出货品资料")
    RULES_ACTIVATED = "rules_activated", _("启用规则集")
    LIST_CHANGED = "list_changed", _("名单变更")
    EXEMPTION_MADE = "exemption_made", _("设置豁免")
    EXEMPTION_ENDED = "exemption_ended", _("结束豁免")
    HOLD_SNOOZED = "hold_snoozed", _("暂缓处理")
    HOLD_EXPIRED = "hold_expired", _("挂起到期解除")
    CUSTOMER_ASKED = "customer_asked", _("询问买家")
    APPROVAL_DELEGATED = "approval_delegated", _("审批授权")
    INTERCEPT_ASKED = "intercept_asked", _("申请拦截")
    INTERCEPT_STARTED = "intercept_started", _("启动拦截")
    INTERCEPT_ENDED = "intercept_ended", _("结束拦截")
    PROOF_EXPORTED = "proof_exported", _("导出审批证明")
    ORDER_PARTED = "order_parted", _("分批发货")
    LABEL_REPRINTED = "label_reprinted", _("补打面单")
    MODEL_TRAINED = "model_trained", _("训练风险模型")


class AuditRecord(models.Model):
    """One change of one object, written in the transaction that made it.

    For orders ``version`` counts 1..n without a gap and ``change`` holds
    ``{field: [before, after]}``; ``status`` may hold every status passed through in one go.
    """

    id = models.BigAutoField(primary_key=True)
    object_type = models.CharField(_("对象类型"), max_length=32)
    object_id = models.BigIntegerField(_("对象"))
    version = models.PositiveIntegerField(_("版本"), null=True)
    action = models.CharField(_("动作"), max_length=32, choices=Action)
    actor_kind = models.CharField(_("操作者类型"), max_length=16)
    actor_id = models.CharField(_("操作者编号"), max_length=64)
    actor_name = models.CharField(_("操作者"), max_length=150)
    actor_role = models.CharField(_("角色"), max_length=200)
    request_id = models.CharField(_("请求编号"), max_length=64)
    reason = models.CharField(_("原因"), max_length=500)
    change = models.JSONField(_("变化"))
    created_at = models.DateTimeField(_("时间"))

    class Meta:
        verbose_name = _("审计记录")
        verbose_name_plural = _("审计记录")
        indexes = [models.Index(fields=["object_type", "object_id", "id"], name="audit_of_object")]
        constraints = [
            models.UniqueConstraint(
                fields=["object_type", "object_id", "version"],
                condition=models.Q(version__isnull=False),
                name="audit_version_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()} {self.object_type} {self.object_id}"


class AuditLink(models.Model):
    """The place of one record in the chain of its stream; written a moment after the record.

    ``seq`` counts all links 1..n. A stream is what records have in common that are of one type
    of object; links made before there were streams have none and are one chain of their own.
    """

    seq = models.BigIntegerField(_("序号"), primary_key=True)
    stream = models.CharField(_("链"), max_length=32, default="", db_default="")
    record = models.OneToOneField(AuditRecord, models.PROTECT, verbose_name=_("审计记录"))
    previous_hash = models.BinaryField(_("前一哈希"), max_length=32)
    hash = models.BinaryField(_("哈希"), max_length=32)

    class Meta:
        verbose_name = _("审计链")
        verbose_name_plural = _("审计链")
        constraints = [
            models.UniqueConstraint(fields=["stream", "previous_hash"], name="chain_never_forks")
        ]
        indexes = [models.Index(fields=["stream", "-seq"], name="chain_head")]

    def __str__(self) -> str:
        return f"#{self.seq}"


class AuditSeal(models.Model):
    """The state of all chains at one moment, signed, and published outside the database.

    It covers the links after the last one of the seal before: ``root`` is the root of the
    Merkle tree over their hashes, ``heads`` the last hash of every stream.
    """

    number = models.PositiveIntegerField(_("序号"), primary_key=True)
    first_seq = models.BigIntegerField(_("起"))
    last_seq = models.BigIntegerField(_("止"))
    root = models.CharField(_("根哈希"), max_length=64)
    heads = models.JSONField(_("各链末端"))
    previous_hash = models.CharField(_("前一封签"), max_length=64)
    hash = models.CharField(_("封签"), max_length=64)
    key = models.CharField(_("公钥"), max_length=64)
    signature = models.CharField(_("签名"), max_length=128)
    sealed_at = models.DateTimeField(_("时间"))

    class Meta:
        verbose_name = _("审计封签")
        verbose_name_plural = _("审计封签")

    def __str__(self) -> str:
        return f"{self.number} {self.hash[:12]}"
