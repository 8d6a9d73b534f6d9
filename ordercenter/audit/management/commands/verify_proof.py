"""Check an exported proof. Needs no database."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from ordercenter.audit import proof, seals, signing

LARGEST: Final = 64 * 1024 * 1024


class Command(BaseCommand):
    """Say whether a proof holds; end with 1 and one line on stderr where it does not.

    Trusted are the keys given with ``--key``, else those of this installation. With ``--json``
    one document on stdout: ``{"ok", "problems", "fingerprint", "records", "decisions"}``.
    """

    help = _("校验导出的审批证明文件；不需要数据库")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE")
        parser.add_argument(
            "--key", action="append", default=[], metavar="HEX", help=_("受信任的公钥，可多次给出")
        )
        parser.add_argument(
            "--seals", default="", metavar="DIR", help=_("另与该目录中留存的封签比对")
        )
        parser.add_argument("--json", action="store_true", help=_("只输出一个 JSON 文档"))

    def handle(self, *args: Any, **options: Any) -> None:
        document = _read(Path(options["file"]))
        found = proof.problems(document, options["key"] or signing.own_keys())
        if options["seals"] and not found:
            found = _unlike_outside(document, Path(options["seals"]))
        told = {
            "ok": not found,
            "problems": found,
            "fingerprint": "" if found else proof.fingerprint(document),
            "records": 0 if found else len(document["records"]),
            "decisions": [] if found else document["decisions"],
        }
        if options["json"]:
            self.stdout.write(json.dumps(told, ensure_ascii=False, indent=1))
        elif not found:
            self.stdout.write(_("证明有效：%(records)d 条记录，指纹 %(fingerprint)s") % told)
        if found:
            raise CommandError("；".join(found))


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > LARGEST:
            raise CommandError(_("文件过大"))
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        words = _("无法读取 %(file)s：%(why)s") % {"file": path, "why": type(error).__name__}
        raise CommandError(words) from error


def _unlike_outside(document: proof.Document, folder: Path) -> list[str]:
    """Seals of the proof that are not those published to this folder."""
    told = {one.number: one.seal for one in seals.outside(folder) if one.number}
    return [
        f"封签 #{seal['number']} 与外部留存不同或没有留存"
        for seal in document["seals"]
        if told.get(seal["number"], {}).get("hash") != seal["hash"]
    ]
