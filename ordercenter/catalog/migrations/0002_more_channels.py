from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('catalog', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='listing',
            name='platform_item_id',
            field=models.CharField(blank=True, default='', max_length=64, verbose_name='平台商品编号'),
        ),
        migrations.AddField(
            model_name='listing',
            name='platform_sku_id',
            field=models.CharField(blank=True, default='', max_length=64, verbose_name='平台 SKU 编号'),
        ),
        migrations.AlterField(
            model_name='shop',
            name='channel',
            field=models.CharField(choices=[('taobao', '淘宝/天猫'), ('jd', '京东'), ('douyin', '抖音小店'), ('pinduoduo', '拼多多'), ('shopify', 'Shopify 独立站'), ('wechat', '微信小店'), ('miniprogram', '自有小程序'), ('crm_webhook', '私域 CRM'), ('openjson', '通用 JSON 接口'), ('file', '表格导入')], max_length=16, verbose_name='平台'),
        ),
    ]
