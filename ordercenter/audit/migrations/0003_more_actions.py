from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('audit', '0002_append_only'),
    ]

    operations = [
        migrations.AlterField(
            model_name='auditrecord',
            name='action',
            field=models.CharField(choices=[('order_taken', '接收订单'), ('order_moved', '订单推进'), ('order_updated', '平台更新订单'), ('order_canceled', '订单取消'), ('order_paid', '买家付款'), ('hold_opened', '挂起'), ('hold_released', '解除挂起'), ('hold_returned', '退回修改'), ('hold_handed', '转售后沟通'), ('release_asked', '申请解冻'), ('release_refused', '驳回解冻'), ('receiver_edited', '修改收货信息'), ('stage_done', '完成环节'), ('parcel_shipped', '出库'), ('parcel_stopped', '拦截包裹'), ('waybill_issued', '取得面单'), ('waybill_voided', '作废面单'), ('order_signed', '签收'), ('write_back_done', '发货回传成功'), ('stock_received', '入库'), ('catalog_changed', '货品资料变更'), ('shop_changed', '店铺设置变更'), ('rules_changed', '风控规则变更'), ('access_changed', '账号与角色变更'), ('message_replayed', '重放消息'), ('message_settled', '人工处理死信'), ('line_changed', '店铺线路变更'), ('cursor_reset', '重置读取进度'), ('stop_answered', '答复退款拦截'), ('memo_written', '修改备注'), ('address_answered', '答复改地址申请'), ('receiver_revealed', '查看收件人明文'), ('field_map_changed', '字段对照变更')], max_length=32, verbose_name='动作'),
        ),
    ]
