from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orders', '0007_index_releases_by_person'),
    ]

    operations = [
        migrations.AddField(
            model_name='interception',
            name='freed_at',
            field=models.DateTimeField(null=True, verbose_name='全部恢复时间'),
        ),
        migrations.CreateModel(
            name='InterceptionPolicy',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('most_orders', models.PositiveIntegerField(default=1000, verbose_name='超过多少单需第二人确认')),
                ('most_value', models.DecimalField(decimal_places=2, default=500000, max_digits=18, verbose_name='超过多少金额需第二人确认（元）')),
                ('call_back_hours', models.PositiveSmallIntegerField(default=2, verbose_name='召回几小时内交快递的包裹')),
            ],
            options={
                'verbose_name': '拦截策略',
                'verbose_name_plural': '拦截策略',
                'constraints': [models.CheckConstraint(condition=models.Q(('pk', 1)), name='interception_policy_once')],
            },
        ),
        migrations.AlterField(
            model_name='orderhold',
            name='disposition',
            field=models.CharField(choices=[('waiting', '待审核'), ('returned', '退回修改中'), ('after_sales', '售后沟通中'), ('escalated', '待总经理批准'), ('standing', '指令拦截中')], default='waiting', max_length=12, verbose_name='处理'),
        ),
    ]
