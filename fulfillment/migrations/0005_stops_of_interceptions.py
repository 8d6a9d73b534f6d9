import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('fulfillment', '0004_answers_to_buyers'),
        ('orders', '0008_interception_settings'),
    ]

    operations = [
        migrations.AddField(
            model_name='parcelstop',
            name='interception',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='stops', to='orders.interception', verbose_name='拦截指令'),
        ),
        migrations.AddField(
            model_name='parcelstop',
            name='call_back',
            field=models.CharField(blank=True, choices=[('waiting', '待请求快递'), ('asked', '快递已受理'), ('refused', '快递未受理'), ('dropped', '不再请求')], db_default='', default='', max_length=8, verbose_name='快递召回'),
        ),
        migrations.AddField(
            model_name='parcelstop',
            name='call_back_words',
            field=models.CharField(db_default='', default='', max_length=300, verbose_name='快递答复'),
        ),
        migrations.AddField(
            model_name='parcelstop',
            name='call_back_due_at',
            field=models.DateTimeField(null=True, verbose_name='下次询问'),
        ),
        migrations.AddField(
            model_name='parcelstop',
            name='call_back_tries',
            field=models.PositiveSmallIntegerField(db_default=0, default=0, verbose_name='询问次数'),
        ),
        migrations.AddIndex(
            model_name='parcelstop',
            index=models.Index(condition=models.Q(('call_back', 'waiting')), fields=['call_back_due_at'], name='stop_call_back'),
        ),
        migrations.AddConstraint(
            model_name='parcelstop',
            constraint=models.UniqueConstraint(condition=models.Q(('interception__isnull', False)), fields=('interception', 'parcel'), name='stop_of_interception_once'),
        ),
    ]
