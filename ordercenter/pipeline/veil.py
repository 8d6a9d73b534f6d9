"""Somebody else's bytes, shown without the people in them.

Broken messages are looked at by people who need the shape, the ids, the words of state: what
may be a person stays hidden. A text is shown by its form (one ASCII word, a moment) or by a key
that the field map reads as something else; whatever is left is hidden, so that most of what
stands in a field nobody has heard of hides, too.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote_plus

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.field_map import FieldMap
from channels_sync.contracts import Unreadable
from channels_sync.field_maps import live_field_map

HIDDEN: Final = "***"
DEEPEST: Final = 4
"""JSON in a text of JSON, so often; what lies below is hidden."""
_ABOUT_PEOPLE: Final = ("receiver", "evidence")
_REGION: Final = frozenset({"province", "city", "district", "town"})
_TYPED: Final = frozenset({"buyer_remark", "seller_memo", "reason", "words"})
_PERSONAL: Final = re.compile(
    r"receiver|recipient|consignee|addressee|contact|buyer|customer|person|user_?name|nick"
    r"|(?:first|last|full|real|given|family)_?name|mobile|phone|(?:^|_)tel(?:$|_|no|num|ephone)"
    r"|addr|street|detail_info|zip|oaid|hash_?code|encrypt|cipher|mask|id_?card|identity|passport"
    r"|e-?mail|birth|remark|memo|message|note|words|secret|token|password|^sign$|signature",
    re.IGNORECASE,
)
_PHONE: Final = re.compile(
    r"(?<!\d)(?:(?:\+?86[- ]?)?(1[3-9]\d)\d{6}(\d\d)|(0\d{2,3})-\d{5,6}(\d\d))(?!\d)"
)
_WORD: Final = re.compile(r"[!-~]{0,60}")
_MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{5,15}(?:Z|[+-][0-9:]{4,6})?")
_JSON_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)|[{}\[\]]|[^"{}\[\]]+', re.DOTALL)
_BARE: Final = re.compile(r"[^\s,:]+")
_NUMBER: Final = re.compile(r"-?[0-9][0-9.eE+-]*")
_IS_KEY: Final = re.compile(r"\s*:")
_FORM: Final = re.compile(r"[\w.%\[\]-]+=[^&\s]*(?:&[\w.%\[\]-]+=[^&\s]*)*\s*\Z")
_TAGGED: Final = re.compile(
    r"<([\w:.-]+)((?:\s[^<>]*)?)>([^<]*|<!\[CDATA\[.*?(?:\]\]>|\Z))", re.DOTALL
)
_ATTRIBUTE: Final = re.compile(r"([\w:.-]+)=(\"[^\"]*\"?|'[^']*'?)")
_NOT_ASCII: Final = re.compile(r"(?:[^\x00-\x7f]|\\u[0-9a-fA-F]{4}|%[89a-fA-F][0-9a-fA-F])+")


@dataclass(frozen=True, slots=True)
class Keys:
    """Which keys of a channel's documents hold people, and which surely hold none."""

    personal: frozenset[str] = frozenset()
    harmless: frozenset[str] = frozenset()

    def is_personal(self, key: str) -> bool:
        return key in self.personal or (
            key not in self.harmless and bool(_PERSONAL.search(key))
        )  # fmt: skip


def veiled(data: bytes, *, channel: str, shop_id: int | None) -> str:
    """The bytes as text without names, phones, addresses, notes and secrets.

    ``data`` may be broken, or cut off. What is neither JSON, XML nor a form loses its phones
    and everything that is not ASCII.
    """
    return _veil(data.decode("utf-8", errors="replace"), _keys(channel, shop_id), depth=0)


def _keys(channel: str, shop_id: int | None) -> Keys:
    factory = CONNECTORS.get(channel)
    if factory is None:
        return Keys()
    try:
        field_map = live_field_map(channel, shop_id)
    except Unreadable:
        field_map = factory.default_map
    return _keys_of(field_map) if field_map else Keys()


@lru_cache(maxsize=64)
def _keys_of(field_map: FieldMap) -> Keys:
    personal: set[str] = set()
    harmless: set[str] = set()
    for section, fields in field_map.source.items():
        for ours, entry in fields.items():
            told = set(_leaves(entry))
            if ours in _TYPED or (section in _ABOUT_PEOPLE and ours not in _REGION):
                personal |= told
            else:
                harmless |= told
    return Keys(frozenset(personal), frozenset(harmless - personal))


def _leaves(entry: Mapping[str, Any]) -> Iterator[str]:
    for path in entry.get("from", ()):
        yield re.sub(r"\[\d*\]|\?", "", path).rpartition(".")[2]


def _veil(text: str, keys: Keys, *, depth: int) -> str:
    head = text.lstrip()[:1]
    if head in {"{", "["}:
        return _veil_json(text, keys, depth=depth)
    if head == "<":
        return _veil_xml(text, keys)
    if _FORM.match(text.strip()):
        return _veil_form(text, keys, depth=depth)
    return _without_phones(_NOT_ASCII.sub(HIDDEN, text))


def _veil_json(text: str, keys: Keys, *, depth: int) -> str:
    """Walk the tokens; what is below a personal key is personal, however it is nested."""
    shown: list[str] = []
    above: list[tuple[bool, str]] = []
    personal, key = False, ""
    for match in _JSON_TOKEN.finditer(text):
        piece = match[0]
        if piece in "{[":
            above.append((personal, key))
            personal = personal or keys.is_personal(key)
        elif piece in "}]":
            personal, key = above.pop() if above else (False, "")
        elif piece.startswith('"') and _IS_KEY.match(text, match.end()):
            key = _unescaped(piece)
            piece = _without_phones(piece)
        elif personal or keys.is_personal(key):
            piece = f'"{HIDDEN}"' if piece.startswith('"') else _bare(piece, personal=True)
        elif piece.startswith('"'):
            piece = _value(piece, key, keys, depth=depth)
        else:
            piece = _bare(piece, personal=False)
        shown.append(piece)
    return "".join(shown)


def _bare(piece: str, *, personal: bool) -> str:
    """What stands outside of texts: literals, numbers, and what does not belong into JSON."""

    def shown(match: re.Match[str]) -> str:
        told = match[0]
        is_number = not personal and _NUMBER.fullmatch(told)
        return told if is_number or told in {"null", "true", "false"} else HIDDEN

    return _without_phones(_BARE.sub(shown, piece))


def _unescaped(token: str) -> str:
    try:
        return str(json.loads(token))
    except ValueError:
        return token.strip('"')


def _value(token: str, key: str, keys: Keys, *, depth: int) -> str:
    """One text of JSON that stands below no personal key."""
    told = _unescaped(token)
    if told.lstrip()[:1] in {"{", "[", "<"} and len(told) > 2:  # noqa: PLR2004 - "{}"
        inner = HIDDEN if depth >= DEEPEST else _veil(told, keys, depth=depth + 1)
        return json.dumps(inner, ensure_ascii=False)
    return _without_phones(token) if _is_harmless(told, key, keys) else f'"{HIDDEN}"'


def _is_harmless(told: str, key: str, keys: Keys) -> bool:
    by_form = _WORD.fullmatch(told) or _MOMENT.fullmatch(told)
    return bool(by_form) or key in keys.harmless


def _veil_xml(text: str, keys: Keys) -> str:
    def attribute(match: re.Match[str]) -> str:
        told = match[2].strip("\"'")
        hide = keys.is_personal(match[1]) or not _is_harmless(told, match[1], keys)
        return f'{match[1]}="{HIDDEN if hide else _without_phones(told)}"'

    def element(match: re.Match[str]) -> str:
        told = re.sub(r"^<!\[CDATA\[|\]\]>$", "", match[3])
        hide = keys.is_personal(match[1]) or not _is_harmless(told.strip(), match[1], keys)
        inner = HIDDEN if hide and told.strip() else _without_phones(match[3])
        return f"<{match[1]}{_ATTRIBUTE.sub(attribute, match[2])}>{inner}"

    return _without_phones(_NOT_ASCII.sub(HIDDEN, _TAGGED.sub(element, text)))


def _veil_form(text: str, keys: Keys, *, depth: int) -> str:
    shown = []
    for pair in text.strip().split("&"):
        key, _, told = pair.partition("=")
        value = unquote_plus(told)
        if keys.is_personal(unquote_plus(key)):
            value = HIDDEN
        elif value.lstrip()[:1] in {"{", "[", "<"}:
            value = HIDDEN if depth >= DEEPEST else _veil(value, keys, depth=depth + 1)
        elif not _is_harmless(value, key, keys):
            value = HIDDEN
        shown.append(f"{key}={_without_phones(value)}")
    return "&".join(shown)


def _without_phones(text: str) -> str:
    return _PHONE.sub(lambda m: f"{m[1] or m[3]}****{m[2] or m[4]}", text)
