"""The forms of a shop's pages. What is secret goes in and never comes out."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from django import forms
from django.urls import resolve, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from channels_sync.connectors.exchange import endpoint
from channels_sync.contracts import Rejected
from channels_sync.models import ShopCredential, SyncCursor
from ordercenter.console.platforms import (
    AUTO_MAP,
    PUSH_STOCK,
    STOCK_WINDOW,
    TOKEN_FIELDS,
    Field,
    Kept,
    Platform,
)
from ordercenter.pipeline.health import RISKS

CURRENCIES: Final = ("CNY", "USD", "EUR", "GBP", "HKD", "JPY", "KRW", "SGD", "AUD", "CAD")
INTERVALS: Final = (
    (10, _("10 秒")),
    (30, _("30 秒")),
    (60, _("1 分钟")),
    (300, _("5 分钟")),
    (900, _("15 分钟")),
    (1800, _("30 分钟")),
    (3600, _("1 小时")),
    (86_400, _("1 天")),
)
FIRST_BACKFILLS: Final = (
    (0, _("不补拉，只接收从现在起的订单")),
    (1, _("最近 1 天")),
    (7, _("最近 7 天")),
    (30, _("最近 30 天")),
)
MORE_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]{1,60}")
MOST_MORE: Final = 60
LONGEST_MORE: Final = 4_000
Choices = Sequence[tuple[Any, str | Promise]]


class NameForm(forms.Form):
    """What a shop is called here."""

    name = forms.CharField(label=_("店铺名称"), max_length=100, help_text=_("同事们认得的名字"))
    code = forms.SlugField(
        label=_("店铺编码"),
        max_length=32,
        help_text=_("字母、数字、- 和 _，例如 TB01；会出现在推送地址里，定了不能改"),
    )
    currency = forms.ChoiceField(label=_("币种"), choices=[(one, one) for one in CURRENCIES])

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"]
        if resolve(reverse("shop", args=[code])).url_name != "shop":
            raise forms.ValidationError(_("这个编码是系统保留的，请换一个"))
        return code


class AccessForm(forms.Form):
    """How a shop is spoken for, by its platform's table."""

    def __init__(
        self, data: Mapping[str, Any] | None, *, platform: Platform, row: ShopCredential | None
    ) -> None:
        super().__init__(data)
        self.platform = platform
        self.known = _known_secrets(row)
        stored = _texts(row.options if row else {})
        self.fields["base_url"] = forms.CharField(
            label=_("接口地址"),
            max_length=200,
            initial=row.base_url if row else platform.base_url,
            help_text=str(platform.base_url_help or _("一般不用改")),
            widget=forms.URLInput,
        )
        for one in self._table():
            self.fields[one.name] = self._field(one, stored, row)
        rest = {name: text for name, text in stored.items() if name not in self._option_names()}
        self.fields["more"] = forms.CharField(
            label=_("其他平台参数"),
            required=False,
            max_length=LONGEST_MORE,
            initial="\n".join(f"{name}={text}" for name, text in sorted(rest.items())),
            help_text=_("每行一个，写成 名称=值；没有特别要求就留空。密钥不要填在这里"),
            widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        )

    def _table(self) -> tuple[Field, ...]:
        return (*self.platform.fields, PUSH_STOCK, STOCK_WINDOW, AUTO_MAP)

    def _option_names(self) -> set[str]:
        return {one.name for one in self._table() if one.kept is Kept.OPTION}

    def _field(
        self, one: Field, stored: Mapping[str, str], row: ShopCredential | None
    ) -> forms.Field:
        if one.kept is Kept.SECRET:
            return secret_field(one, known=one.name in self.known)
        initial = row.app_key if row and one.kept is Kept.APP_KEY else one.default
        if row and one.kept is Kept.OPTION:
            initial = stored.get(one.name, one.default)
        if one.choices:
            choices: Choices = one.choices
            if initial not in dict(choices):
                choices = (*choices, (initial, initial))
            return forms.ChoiceField(
                label=str(one.label), required=False, initial=initial,
                help_text=str(one.help), choices=choices,
            )  # fmt: skip
        return forms.CharField(
            label=str(one.label), required=one.is_required, initial=initial,
            help_text=str(one.help), max_length=one.longest,
        )  # fmt: skip

    def clean_base_url(self) -> str:
        """Refuse what the connectors would refuse, while somebody can still mend it."""
        text: str = self.cleaned_data["base_url"]
        try:
            parts = urlsplit(text)
            endpoint(text, "")
        except ValueError:
            raise forms.ValidationError(_("这不是一个网址")) from None
        except Rejected as refusal:
            raise forms.ValidationError(refusal.error.message) from None
        if not parts.hostname:
            raise forms.ValidationError(_("请填写完整的网址，以 https:// 开头"))
        if parts.username or parts.password:
            raise forms.ValidationError(_("网址里不能带账号和密码"))
        return text

    def clean_more(self) -> dict[str, str]:
        found: dict[str, str] = {}
        taken = {one.name for one in (*self._table(), *TOKEN_FIELDS)}
        for line in self.cleaned_data["more"].splitlines():
            if not line.strip():
                continue
            name, mark, value = (part.strip() for part in line.partition("="))
            if not mark or not MORE_NAME.fullmatch(name):
                raise forms.ValidationError(
                    _("“%(line)s”不是 名称=值 的写法") % {"line": line.strip()[:60]}
                )
            if name in taken or name in found:
                raise forms.ValidationError(_("参数 %(name)s 重复，或上面已有") % {"name": name})
            found[name] = value
        if len(found) > MOST_MORE:
            raise forms.ValidationError(_("参数太多"))
        return found

    def options(self) -> dict[str, str]:
        typed = {name: str(self.cleaned_data[name]).strip() for name in self._option_names()}
        more: dict[str, str] = self.cleaned_data["more"]
        return {name: text for name, text in typed.items() if text} | more

    def secrets(self) -> dict[str, str]:
        named = [one.name for one in self._table() if one.kept is Kept.SECRET]
        return {name: self.cleaned_data[name] for name in named if self.cleaned_data[name]}

    @property
    def has_secrets(self) -> bool:
        return any(one.kept is Kept.SECRET for one in self._table())


class TokenForm(forms.Form):
    """Tokens somebody got elsewhere."""

    def __init__(self, data: Mapping[str, Any] | None, *, row: ShopCredential | None) -> None:
        super().__init__(data)
        known = _known_secrets(row)
        for one in TOKEN_FIELDS:
            self.fields[one.name] = secret_field(one, known=one.name in known)
            self.fields[one.name].required = False

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        if not any(found.values()):
            raise forms.ValidationError(_("请填写访问令牌"))
        return found


class ModeForm(forms.Form):
    """How fresh a shop is to be kept."""

    mode = forms.ChoiceField(label=_("同步方式"), widget=forms.RadioSelect)
    interval = forms.TypedChoiceField(label=_("轮询间隔"), coerce=int)

    def __init__(
        self, data: Mapping[str, Any] | None, *, row: SyncCursor, feeds: Collection[Any]
    ) -> None:
        super().__init__(data)
        modes = [
            (mode.value, f"{mode.label} · {RISKS[mode][0]}") for mode in SyncCursor.Mode
        ]  # fmt: skip
        intervals = {row.interval_seconds: f"{row.interval_seconds} s"}
        intervals |= {seconds: str(words) for seconds, words in INTERVALS}
        _choose(self, "mode", modes, row.mode)
        _choose(self, "interval", sorted(intervals.items()), row.interval_seconds)
        if not feeds:
            del self.fields["interval"]

    def interval_seconds(self, otherwise: int) -> int:
        return int(self.cleaned_data.get("interval", otherwise))


class FirstForm(ModeForm):
    """The same for a shop that is about to start, with how much of the past to read."""

    backfill = forms.TypedChoiceField(
        label=_("首次补拉"), coerce=int, choices=FIRST_BACKFILLS, initial=1,
        widget=forms.RadioSelect,
    )  # fmt: skip

    def __init__(
        self, data: Mapping[str, Any] | None, *, row: SyncCursor, feeds: Collection[Any]
    ) -> None:
        super().__init__(data, row=row, feeds=feeds)
        if not feeds:
            del self.fields["backfill"]


class SpanForm(forms.Form):
    """A stretch of the past, in Beijing time."""

    start = forms.DateTimeField(label=_("从"))
    end = forms.DateTimeField(label=_("到"))
    reason = forms.CharField(label=_("原因"), max_length=500, required=False)


def secret_field(one: Field, *, known: bool) -> forms.CharField:
    """A field for a secret: empty whatever is stored, required until something is."""
    attrs = {"autocomplete": "new-password", "spellcheck": "false"}
    if known:
        attrs["placeholder"] = str(_("已保存，留空不变"))
    return forms.CharField(
        label=str(one.label),
        required=one.is_required and not known,
        max_length=one.longest,
        help_text=str(one.help),
        widget=forms.PasswordInput(attrs=attrs, render_value=False),
    )


def _known_secrets(row: ShopCredential | None) -> set[str]:
    """The names of what is stored, not the values."""
    return {name for name, text in row.secrets().items() if text} if row else set()


def _choose(form: forms.Form, name: str, choices: Choices, initial: Any) -> None:
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)
    field.choices, field.initial = list(choices), initial


def _texts(options: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in options.items()
    }
