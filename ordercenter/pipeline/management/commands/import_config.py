"""Show what a configuration document would change here; with ``--yes`` take it in."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from ordercenter.core.errors import InvalidInput
from ordercenter.pipeline import config
from ordercenter.pipeline.config import Section

MOST_BYTES: Final = 64 * 1024 * 1024
SHOWN: Final = 20


class Command(BaseCommand):
    """Compare FILE with what is here. Nothing changes without ``--yes`` and ``--user``.

    Rules become a draft: it is back-tested and made live on its page, never here. Ends with 1
    when a row was refused.
    """

    help = _("导入配置：先显示差异，--yes 才写入；规则只成为草稿")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE.json")
        parser.add_argument("--yes", action="store_true", help=_("写入"))
        parser.add_argument("--user", default="", metavar="NAME", help=_("以谁的权限写入"))
        parser.add_argument("--json", action="store_true", dest="as_json")

    def handle(self, *args: Any, **options: Any) -> None:
        document = _read(options["file"])
        try:
            if options["yes"]:
                found = config.apply(document, user=_user(options["user"]))
            else:
                found = config.plan(document)
        except InvalidInput as refusal:
            raise CommandError(str(refusal)) from refusal
        if options["as_json"]:
            told = {"applied": options["yes"], "sections": config.as_plain(found)}
            self.stdout.write(json.dumps(told, ensure_ascii=False))
        else:
            for name, section in found.items():
                self._show(name, section)
        if refused := sum(len(section.refused) for section in found.values()):
            raise CommandError(_("%d 项未能导入") % refused)

    def _show(self, name: str, section: Section) -> None:
        counts = _("新增 %(new)d，修改 %(changed)d，相同 %(same)d，仅本地有 %(here)d") % {
            "new": len(section.added), "changed": len(section.changed), "same": section.same,
            "here": section.only_here,
        }  # fmt: skip
        self.stdout.write(f"{name}: {counts}")
        for key in section.added[:SHOWN]:
            self.stdout.write(f"  + {key}")
        for key, fields in list(section.changed.items())[:SHOWN]:
            self.stdout.write(f"  ~ {key}")
            for field, (before, after) in fields.items():
                self.stdout.write(f"      {field}: {_plain(before)} → {_plain(after)}")
        for key, words in section.refused.items():
            self.stdout.write(f"  ! {key}: {words}")


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise CommandError(_("文件超过 %d MiB") % (MOST_BYTES // 1024**2))
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(_("读不了 %s") % path) from error
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise CommandError(_("%s 不是 JSON 文件") % path) from error


def _user(name: str) -> User:
    found = User.objects.filter(username=name, is_active=True).first()
    if found is None:
        raise CommandError(_("请用 --user 指明以哪位启用的用户的权限写入"))
    return found


def _plain(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"  # noqa: PLR2004 - one line on a terminal
