"""Read addresses as the intake does, without a database, and say what is wrong with them."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils.translation import gettext as _

from ordercenter.core.addresses import ParsedAddress, parse_address


class Command(BaseCommand):
    """Print what each TEXT says. An ambiguous or wrong address is an answer, not a failure.

    With ``--json`` one document on stdout: ``{"addresses": [...]}``, in the order given. Each has
    ``text``, ``province``, ``city``, ``district``, ``town``, ``detail``, ``code``, ``name``,
    ``phone``, ``former_names`` and ``problems``, a list of ``{"code", "message", "choices"}``.
    """

    help = _("解析地址，给出省、市、区和详细地址，或说明为什么有歧义、有错误；不连接数据库")
    requires_system_checks = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help=_("只输出一个 JSON 文档"))
        parser.add_argument("texts", nargs="+", metavar="TEXT", help=_("地址"))

    def handle(self, *args: Any, **options: Any) -> None:
        # Bytes that are no UTF-8 reach us as lone surrogates, which stdout would refuse.
        texts = [text.encode(errors="replace").decode() for text in options["texts"]]
        read = [(text, parse_address(text)) for text in texts]
        if options["json"]:
            document = {"addresses": [as_json(text, parsed) for text, parsed in read]}
            self.stdout.write(json.dumps(document, ensure_ascii=False, indent=1))
            return
        for text, parsed in read:
            self.stdout.write(text)
            for line in summary(parsed):
                self.stdout.write(f"  {line}")


def as_json(text: str, parsed: ParsedAddress) -> dict[str, Any]:
    return {
        "text": text,
        "province": parsed.province,
        "city": parsed.city,
        "district": parsed.district,
        "town": parsed.town,
        "detail": parsed.detail,
        "code": parsed.code,
        "name": parsed.name,
        "phone": parsed.phone,
        "former_names": list(parsed.former_names),
        "problems": [
            {"code": one.code, "message": one.message, "choices": list(one.choices)}
            for one in parsed.problems
        ],
    }


def summary(parsed: ParsedAddress) -> list[str]:
    """One line for each part that was read, then one for each problem."""
    parts = [
        (_("省"), parsed.province),
        (_("市"), parsed.city),
        (_("区县"), parsed.district),
        (_("街道乡镇"), parsed.town),
        (_("详细地址"), parsed.detail),
        (_("收件人"), parsed.name),
        (_("电话"), parsed.phone),
        (_("旧地名"), "、".join(parsed.former_names)),
    ]
    lines = [f"{label}：{value}" for label, value in parts if value]
    return lines + [_("问题：%(what)s") % {"what": one.message} for one in parsed.problems]
