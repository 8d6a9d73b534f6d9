from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PipelineConfig(AppConfig):
    name = "ordercenter.pipeline"
    verbose_name = _("订单流水线")
