import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('catalog', '0002_more_channels'),
        ('fulfillment', '0003_index_parcels_by_shipment'),
        ('orders', '0002_guard_status'),
    ]

    operations = [
        migrations.AddField(
            model_name='refundrequest',
            name='answer',
            field=models.CharField(default='', max_length=16, verbose_name='拦截答复'),
        ),
        migrations.AddField(
            model_name='refundrequest',
            name='version',
            field=models.CharField(default='', max_length=40, verbose_name='平台版本'),
        ),
        migrations.CreateModel(
            name='AddressRequest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('channel_number', models.CharField(max_length=64, verbose_name='平台单号')),
                ('asked_at', models.DateTimeField(verbose_name='申请时间')),
                ('answer_by', models.DateTimeField(null=True, verbose_name='答复时限')),
                ('shown', models.CharField(default='', max_length=200, verbose_name='新地址（脱敏）')),
                ('state', models.CharField(choices=[('open', '待答复'), ('approved', '已同意'), ('refused', '已拒绝'), ('lapsed', '逾时，平台视为同意'), ('gone', '买家已撤回')], default='open', max_length=8, verbose_name='状态')),
                ('decided_by', models.CharField(default='', max_length=150, verbose_name='答复人')),
                ('decided_at', models.DateTimeField(null=True, verbose_name='答复时间')),
                ('reason', models.CharField(default='', max_length=500, verbose_name='说明')),
                ('order', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='address_requests', to='orders.salesorder', verbose_name='订单')),
                ('shop', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to='catalog.shop', verbose_name='店铺')),
            ],
            options={
                'verbose_name': '改地址申请',
                'verbose_name_plural': '改地址申请',
                'indexes': [models.Index(condition=models.Q(('state', 'open')), fields=['answer_by'], name='address_due')],
                'constraints': [models.UniqueConstraint(condition=models.Q(('state', 'open')), fields=('order',), name='address_request_open_once')],
            },
        ),
    ]
