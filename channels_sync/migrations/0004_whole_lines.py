import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('catalog', '0002_more_channels'),
        ('channels_sync', '0003_index_dead_letters'),
    ]

    operations = [
        migrations.CreateModel(
            name='Backfill',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('start', models.DateTimeField(verbose_name='从')),
                ('end', models.DateTimeField(verbose_name='到')),
                ('position', models.DateTimeField(verbose_name='已补到')),
                ('state', models.CharField(choices=[('waiting', '排队'), ('running', '进行中'), ('done', '完成'), ('failed', '失败'), ('canceled', '已取消')], default='waiting', max_length=8, verbose_name='状态')),
                ('pages', models.PositiveIntegerField(default=0, verbose_name='页数')),
                ('messages', models.PositiveIntegerField(default=0, verbose_name='读到')),
                ('new', models.PositiveIntegerField(default=0, verbose_name='新增')),
                ('asked_by', models.CharField(max_length=150, verbose_name='发起人')),
                ('reason', models.CharField(default='', max_length=500, verbose_name='原因')),
                ('created_at', models.DateTimeField(verbose_name='发起时间')),
                ('done_at', models.DateTimeField(null=True, verbose_name='完成时间')),
                ('leased_until', models.DateTimeField(null=True)),
                ('failures', models.PositiveSmallIntegerField(default=0)),
                ('error', models.CharField(default='', max_length=300, verbose_name='错误')),
            ],
            options={
                'verbose_name': '补拉任务',
                'verbose_name_plural': '补拉任务',
                'ordering': ['-pk'],
            },
        ),
        migrations.CreateModel(
            name='CallBudget',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('interface', models.CharField(max_length=80, verbose_name='接口')),
                ('per_second', models.FloatField(verbose_name='每秒次数')),
                ('burst', models.FloatField(verbose_name='突发上限')),
                ('tokens', models.FloatField(verbose_name='余量')),
                ('counted_at', models.DateTimeField(verbose_name='统计时间')),
                ('blocked_until', models.DateTimeField(null=True, verbose_name='限流至')),
            ],
            options={
                'verbose_name': '调用额度',
                'verbose_name_plural': '调用额度',
            },
        ),
        migrations.CreateModel(
            name='CarrierCode',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('channel', models.CharField(choices=[('taobao', '淘宝/天猫'), ('jd', '京东'), ('douyin', '抖音小店'), ('pinduoduo', '拼多多'), ('shopify', 'Shopify 独立站'), ('wechat', '微信小店'), ('miniprogram', '自有小程序'), ('crm_webhook', '私域 CRM'), ('openjson', '通用 JSON 接口'), ('file', '表格导入')], max_length=16, verbose_name='平台')),
                ('carrier', models.SlugField(max_length=16, verbose_name='快递公司')),
                ('code', models.CharField(max_length=40, verbose_name='平台编码')),
            ],
            options={
                'verbose_name': '平台快递编码',
                'verbose_name_plural': '平台快递编码',
                'ordering': ['channel', 'carrier'],
            },
        ),
        migrations.CreateModel(
            name='FeedCursor',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('feed', models.CharField(max_length=16, verbose_name='接口')),
                ('position', models.DateTimeField(verbose_name='已读到')),
                ('last_ok_at', models.DateTimeField(null=True, verbose_name='上次成功')),
                ('deep_at', models.DateTimeField(null=True)),
            ],
            options={
                'verbose_name': '接口进度',
                'verbose_name_plural': '接口进度',
            },
        ),
        migrations.CreateModel(
            name='FieldMap',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('channel', models.CharField(choices=[('taobao', '淘宝/天猫'), ('jd', '京东'), ('douyin', '抖音小店'), ('pinduoduo', '拼多多'), ('shopify', 'Shopify 独立站'), ('wechat', '微信小店'), ('miniprogram', '自有小程序'), ('crm_webhook', '私域 CRM'), ('openjson', '通用 JSON 接口'), ('file', '表格导入')], max_length=16, verbose_name='平台')),
                ('version', models.PositiveIntegerField(verbose_name='版本')),
                ('mapping', models.JSONField(verbose_name='字段对照')),
                ('is_live', models.BooleanField(default=False, verbose_name='生效')),
                ('note', models.CharField(blank=True, max_length=200, verbose_name='说明')),
                ('created_by', models.CharField(default='', max_length=150, verbose_name='编辑人')),
                ('created_at', models.DateTimeField(verbose_name='编辑时间')),
            ],
            options={
                'verbose_name': '字段对照表',
                'verbose_name_plural': '字段对照表',
                'ordering': ['channel', '-version'],
            },
        ),
        migrations.CreateModel(
            name='LineAlarm',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('lag', '数据延迟'), ('silence', '长时间没有新订单'), ('no_push', '推送中断'), ('missing', '缺单'), ('auth', '授权失效或将到期'), ('breaker', '平台无响应'), ('dead', '死信'), ('clock', '时钟偏差')], max_length=10, verbose_name='种类')),
                ('level', models.CharField(choices=[('warn', '提醒'), ('alarm', '告警')], max_length=6, verbose_name='级别')),
                ('words', models.CharField(max_length=300, verbose_name='说明')),
                ('opened_at', models.DateTimeField(verbose_name='开始')),
                ('seen_at', models.DateTimeField(verbose_name='最近一次')),
                ('closed_at', models.DateTimeField(null=True, verbose_name='解除')),
            ],
            options={
                'verbose_name': '线路告警',
                'verbose_name_plural': '线路告警',
            },
        ),
        migrations.CreateModel(
            name='MergeGroup',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('order_ids', models.JSONField(verbose_name='订单')),
                ('asked_at', models.DateTimeField(verbose_name='查询时间')),
                ('valid_until', models.DateTimeField(verbose_name='有效至')),
            ],
            options={
                'verbose_name': '可合单组',
                'verbose_name_plural': '可合单组',
            },
        ),
        migrations.CreateModel(
            name='PublishedStock',
            fields=[
                ('listing', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='published', serialize=False, to='catalog.listing')),
                ('version', models.PositiveBigIntegerField(default=0, verbose_name='版本')),
                ('quantity', models.IntegerField(default=0, verbose_name='应显示')),
                ('computed_at', models.DateTimeField(null=True, verbose_name='计算时间')),
                ('told', models.IntegerField(null=True, verbose_name='已告知')),
                ('told_version', models.PositiveBigIntegerField(default=0)),
                ('told_at', models.DateTimeField(null=True, verbose_name='告知时间')),
                ('refused_until', models.DateTimeField(null=True, verbose_name='平台暂不接受至')),
                ('refusal', models.CharField(default='', max_length=200, verbose_name='拒绝原因')),
            ],
            options={
                'verbose_name': '平台库存',
                'verbose_name_plural': '平台库存',
            },
        ),
        migrations.CreateModel(
            name='Reconciliation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('hour', models.DateTimeField(verbose_name='时段')),
                ('theirs', models.PositiveIntegerField(verbose_name='平台单数')),
                ('ours', models.PositiveIntegerField(verbose_name='本系统单数')),
                ('missing', models.JSONField(default=list, verbose_name='缺少的单号')),
                ('pulled', models.PositiveIntegerField(default=0, verbose_name='已补拉')),
                ('extra', models.JSONField(default=list, verbose_name='平台没有的单号')),
                ('state', models.CharField(choices=[('even', '一致'), ('pulling', '补拉中'), ('short', '仍有缺单')], max_length=8, verbose_name='结果')),
                ('checked_at', models.DateTimeField(verbose_name='核对时间')),
            ],
            options={
                'verbose_name': '对单',
                'verbose_name_plural': '对单',
            },
        ),
        migrations.CreateModel(
            name='Reveal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('order_id', models.BigIntegerField(verbose_name='订单')),
                ('scene', models.CharField(choices=[('label', '打印面单'), ('service', '客服联系买家'), ('after_sales', '售后处理'), ('check', '核对地址')], max_length=12, verbose_name='场景')),
                ('reason', models.CharField(max_length=500, verbose_name='事由')),
                ('seen_by', models.CharField(max_length=150, verbose_name='查看人')),
                ('seen_by_id', models.CharField(max_length=64)),
                ('asked_platform', models.BooleanField(verbose_name='调用平台解密')),
                ('outcome', models.CharField(default='', max_length=80, verbose_name='结果')),
                ('at', models.DateTimeField(verbose_name='时间')),
            ],
            options={
                'verbose_name': '明文查看记录',
                'verbose_name_plural': '明文查看记录',
            },
        ),
        migrations.CreateModel(
            name='SyncWindow',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('feed', models.CharField(max_length=16)),
                ('start', models.DateTimeField()),
                ('end', models.DateTimeField()),
                ('pages', models.PositiveIntegerField(default=0)),
                ('messages', models.PositiveIntegerField(default=0)),
                ('was', models.DateTimeField()),
                ('position', models.DateTimeField()),
                ('reset_by', models.CharField(default='', max_length=150)),
                ('at', models.DateTimeField()),
            ],
            options={
                'verbose_name': '读取记录',
                'verbose_name_plural': '读取记录',
            },
        ),
        migrations.RemoveIndex(
            model_name='inboxmessage',
            name='message_open',
        ),
        migrations.AddField(
            model_name='inboxmessage',
            name='lane',
            field=models.PositiveSmallIntegerField(choices=[(0, '实时'), (1, '补拉与重放')], default=0, verbose_name='队列'),
        ),
        migrations.AddField(
            model_name='outboundmessage',
            name='answer_by',
            field=models.DateTimeField(null=True, verbose_name='平台时限'),
        ),
        migrations.AddField(
            model_name='outboundmessage',
            name='is_doubtful',
            field=models.BooleanField(default=False, verbose_name='结果不明'),
        ),
        migrations.AddField(
            model_name='outboundmessage',
            name='settled_by',
            field=models.CharField(default='', max_length=150, verbose_name='处理人'),
        ),
        migrations.AddField(
            model_name='outboundmessage',
            name='settled_reason',
            field=models.CharField(default='', max_length=500, verbose_name='处理说明'),
        ),
        migrations.AddField(
            model_name='outboundmessage',
            name='subject',
            field=models.CharField(default='', max_length=120, verbose_name='对象'),
        ),
        migrations.AddField(
            model_name='shopcredential',
            name='expires_at',
            field=models.DateTimeField(editable=False, null=True, verbose_name='令牌到期'),
        ),
        migrations.AddField(
            model_name='shopcredential',
            name='old_secret_until',
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='shopcredential',
            name='refresh_expires_at',
            field=models.DateTimeField(editable=False, null=True, verbose_name='授权到期'),
        ),
        migrations.AddField(
            model_name='shopcredential',
            name='refreshing_until',
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='shopcredential',
            name='write_expires_at',
            field=models.DateTimeField(editable=False, null=True, verbose_name='写权限到期'),
        ),
        migrations.AddField(
            model_name='synccursor',
            name='broken',
            field=models.PositiveSmallIntegerField(default=0, verbose_name='连续无响应'),
        ),
        migrations.AddField(
            model_name='synccursor',
            name='listening_until',
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name='synccursor',
            name='mode',
            field=models.CharField(choices=[('event', '实时（推送与轮询）'), ('timed', '定时轮询'), ('manual', '手动')], default='event', max_length=8, verbose_name='同步方式'),
        ),
        migrations.AddField(
            model_name='synccursor',
            name='open_until',
            field=models.DateTimeField(null=True, verbose_name='熔断至'),
        ),
        migrations.AddField(
            model_name='synccursor',
            name='paused_at',
            field=models.DateTimeField(editable=False, null=True, verbose_name='暂停时间'),
        ),
        migrations.AddField(
            model_name='synccursor',
            name='paused_by',
            field=models.CharField(default='', editable=False, max_length=150, verbose_name='暂停人'),
        ),
        migrations.AlterField(
            model_name='inboxmessage',
            name='source',
            field=models.CharField(choices=[('poll', '轮询'), ('push', '推送'), ('file', '文件'), ('fetch', '单查'), ('backfill', '补拉')], max_length=8, verbose_name='来源'),
        ),
        migrations.AlterField(
            model_name='outboundmessage',
            name='done_at',
            field=models.DateTimeField(null=True, verbose_name='完成时间'),
        ),
        migrations.AlterField(
            model_name='outboundmessage',
            name='kind',
            field=models.CharField(choices=[('ship', '发货回传'), ('stock', '库存'), ('stop', '退款拦截答复'), ('memo', '备注'), ('address', '改地址答复')], max_length=8, verbose_name='种类'),
        ),
        migrations.AlterField(
            model_name='outboundmessage',
            name='order_id',
            field=models.BigIntegerField(null=True, verbose_name='订单'),
        ),
        migrations.AlterField(
            model_name='outboundmessage',
            name='state',
            field=models.CharField(choices=[('waiting', '待发送'), ('done', '已送达'), ('dead', '死信'), ('unsupported', '平台不支持'), ('superseded', '已被更新的消息取代'), ('settled', '已人工处理')], default='waiting', max_length=12, verbose_name='状态'),
        ),
        migrations.AlterField(
            model_name='shopcredential',
            name='base_url',
            field=models.CharField(max_length=200, verbose_name='接口地址'),
        ),
        migrations.AlterField(
            model_name='synccursor',
            name='leased_until',
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name='inboxmessage',
            index=models.Index(condition=models.Q(('state__in', ['new', 'leased'])), fields=['lane', 'id'], name='message_open'),
        ),
        migrations.AddIndex(
            model_name='outboundmessage',
            index=models.Index(condition=models.Q(('state', 'waiting'), models.Q(('subject', ''), _negated=True)), fields=['subject'], name='outbound_subject'),
        ),
        migrations.AddField(
            model_name='backfill',
            name='shop',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='backfills', to='catalog.shop', verbose_name='店铺'),
        ),
        migrations.AddField(
            model_name='callbudget',
            name='shop',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='catalog.shop', verbose_name='店铺'),
        ),
        migrations.AddConstraint(
            model_name='carriercode',
            constraint=models.UniqueConstraint(fields=('channel', 'carrier'), name='carrier_code_once'),
        ),
        migrations.AddField(
            model_name='feedcursor',
            name='shop',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='feeds', to='catalog.shop', verbose_name='店铺'),
        ),
        migrations.AddField(
            model_name='fieldmap',
            name='shop',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to='catalog.shop', verbose_name='店铺'),
        ),
        migrations.AddField(
            model_name='linealarm',
            name='shop',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='alarms', to='catalog.shop', verbose_name='店铺'),
        ),
        migrations.AddField(
            model_name='mergegroup',
            name='shop',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='catalog.shop', verbose_name='店铺'),
        ),
        migrations.AddConstraint(
            model_name='publishedstock',
            constraint=models.CheckConstraint(condition=models.Q(('told_version__lte', models.F('version'))), name='told_what_was_computed'),
        ),
        migrations.AddField(
            model_name='reconciliation',
            name='shop',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='catalog.shop', verbose_name='店铺'),
        ),
        migrations.AddField(
            model_name='reveal',
            name='shop',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, to='catalog.shop', verbose_name='店铺'),
        ),
        migrations.AddField(
            model_name='syncwindow',
            name='shop',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, to='catalog.shop'),
        ),
        migrations.AddConstraint(
            model_name='backfill',
            constraint=models.CheckConstraint(condition=models.Q(('end__gt', models.F('start'))), name='backfill_span'),
        ),
        migrations.AddConstraint(
            model_name='backfill',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ['waiting', 'running'])), fields=('shop',), name='backfill_one_at_a_time'),
        ),
        migrations.AddConstraint(
            model_name='callbudget',
            constraint=models.UniqueConstraint(fields=('shop', 'interface'), name='budget_once'),
        ),
        migrations.AddConstraint(
            model_name='feedcursor',
            constraint=models.UniqueConstraint(fields=('shop', 'feed'), name='feed_once'),
        ),
        migrations.AddConstraint(
            model_name='fieldmap',
            constraint=models.UniqueConstraint(fields=('channel', 'shop', 'version'), name='field_map_once', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='fieldmap',
            constraint=models.UniqueConstraint(condition=models.Q(('is_live', True)), fields=('channel', 'shop'), name='field_map_one_live', nulls_distinct=False),
        ),
        migrations.AddIndex(
            model_name='linealarm',
            index=models.Index(fields=['-opened_at'], name='alarm_recent'),
        ),
        migrations.AddConstraint(
            model_name='linealarm',
            constraint=models.UniqueConstraint(condition=models.Q(('closed_at', None)), fields=('shop', 'kind'), name='alarm_open_once'),
        ),
        migrations.AddIndex(
            model_name='mergegroup',
            index=models.Index(fields=['shop', '-asked_at'], name='merge_group_recent'),
        ),
        migrations.AddIndex(
            model_name='reconciliation',
            index=models.Index(fields=['-hour'], name='reconciled_recent'),
        ),
        migrations.AddConstraint(
            model_name='reconciliation',
            constraint=models.UniqueConstraint(fields=('shop', 'hour'), name='reconciled_once'),
        ),
        migrations.AddIndex(
            model_name='reveal',
            index=models.Index(fields=['seen_by_id', 'at'], name='reveal_by_person'),
        ),
        migrations.AddIndex(
            model_name='reveal',
            index=models.Index(fields=['shop', 'at'], name='reveal_by_shop'),
        ),
        migrations.AddIndex(
            model_name='syncwindow',
            index=models.Index(fields=['shop', 'feed', 'id'], name='window_of_feed'),
        ),
    ]
