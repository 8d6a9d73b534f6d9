"""One version of a field map as a form: a row for each of our fields, and a payload to try it on.

What the form gives back names only what differs from the packaged map, as the stored rows do.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from channels_sync.connectors import CONNECTORS
from channels_sync.connectors.field_map import FieldMap
from channels_sync.connectors.field_map_checks import FAMILIES
from channels_sync.contracts import ShopAccess, Unreadable
from channels_sync.documents import document_json
from ordercenter.console.field_map_words import FIELDS, READINGS, SECTIONS
from ordercenter.console.reasons import LONGEST
from ordercenter.core.masking import mask_name, mask_phone

NOBODY: Final = ShopAccess(shop_code="", base_url="", app_key="", app_secret="")
MOST_CHARACTERS: Final = 2_000_000
MORE: Final = ("values", "otherwise", "default", "join")
"""Settings of a field that are written as JSON beside its paths."""

BOX: Final = (
    "border border-base-200 rounded-default px-2 py-1 w-full bg-white dark:bg-base-900 "
    "dark:border-base-800"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One of our fields in the form."""

    name: str
    label: str | Promise
    note: str
    required: bool
    changed: bool
    paths: forms.BoundField
    reading: forms.BoundField
    more: forms.BoundField


@dataclass(frozen=True, slots=True)
class Group:
    """One section of the map in the form."""

    name: str
    label: str | Promise
    rows: list[Row]


class FieldMapForm(forms.Form):
    """Every field of a channel's map: where it comes from, how it is read, and what else."""

    note = forms.CharField(
        label=_("改动说明"),
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs={"class": BOX}),
    )
    payload = forms.CharField(
        label=_("试读报文"),
        required=False,
        strip=False,
        max_length=MOST_CHARACTERS,
        widget=forms.Textarea(attrs={"rows": 8, "class": BOX, "spellcheck": "false"}),
        help_text=_("粘贴一份平台报文（不会保存），先看看会读到什么"),
    )

    def __init__(self, data: Any, *, base: FieldMap, current: Mapping[str, Any]) -> None:
        super().__init__(data)
        self.base = base
        self.current = current
        for section, name, entry in self._entries():
            key = f"{section}.{name}"
            shown = {**entry, **current.get(section, {}).get(name, {})}
            more = {part: shown[part] for part in MORE if shown.get(part) is not None}
            label = f"{SECTIONS.get(section, section)} {FIELDS.get(name, name)}"
            self.fields[f"{key}.from"] = forms.CharField(
                label=label, required=False, max_length=2_000,
                initial=", ".join(shown.get("from", [])),
                widget=forms.TextInput(attrs={"class": BOX, "aria-label": label}),
            )  # fmt: skip
            self.fields[f"{key}.as"] = forms.ChoiceField(
                label=label, choices=_alike(entry["as"]), initial=shown["as"],
                widget=forms.Select(attrs={"class": BOX, "aria-label": label}),
            )  # fmt: skip
            self.fields[f"{key}.more"] = forms.CharField(
                label=label, required=False, max_length=20_000,
                initial=json.dumps(more, ensure_ascii=False) if more else "",
                widget=forms.Textarea(
                    attrs={"rows": 3 if "values" in more else 1, "class": BOX, "aria-label": label}
                ),
            )  # fmt: skip

    def _entries(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        for section, fields in self.base.source.items():
            for name, entry in fields.items():
                yield section, name, entry

    def groups(self) -> list[Group]:
        """What the page draws."""
        found: dict[str, Group] = {}
        for section, name, entry in self._entries():
            label = SECTIONS.get(section, section)
            group = found.setdefault(section, Group(section, label, []))
            group.rows.append(
                Row(
                    name,
                    FIELDS.get(name, ""),
                    str(entry.get("note", "")),
                    bool(entry.get("required")),
                    name in self.current.get(section, {}),
                    self[f"{section}.{name}.from"],
                    self[f"{section}.{name}.as"],
                    self[f"{section}.{name}.more"],
                )
            )
        return list(found.values())

    def clean_note(self) -> str:
        note: str = self.cleaned_data["note"][:LONGEST]
        if "\0" in note:
            raise forms.ValidationError(_("说明中含有无法保存的字符"))
        return note

    def mapping(self) -> dict[str, dict[str, dict[str, Any]]]:
        """What the form says otherwise than the packaged map; only of a valid form."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for section, name, entry in self._entries():
            told = self._told(f"{section}.{name}")
            taken_away = {key: None for key in MORE if key in entry and key not in told}
            change = {key: value for key, value in told.items() if entry.get(key) != value}
            if change := {**change, **taken_away}:
                found.setdefault(section, {})[name] = change
        return found

    def _told(self, key: str) -> dict[str, Any]:
        paths = self.cleaned_data[f"{key}.from"].replace("，", ",").split(",")
        return {
            "from": [path.strip() for path in paths if path.strip()],
            "as": self.cleaned_data[f"{key}.as"],
            **self.cleaned_data[f"{key}.more"],
        }

    def clean(self) -> dict[str, Any]:
        for section, name, _entry in self._entries():
            key = f"{section}.{name}.more"
            text = str(self.cleaned_data.get(key, "")).strip()
            try:
                more = json.loads(text) if text else {}
            except ValueError:
                more = None
            if not isinstance(more, dict) or not more.keys() <= set(MORE):
                words = _("应为 JSON 对象，只可写 %(names)s") % {"names": "、".join(MORE)}
                self.add_error(key, words)
                continue
            self.cleaned_data[key] = more
        return self.cleaned_data


def _alike(kind: str) -> list[tuple[str, Any]]:
    """The ways of reading that may take the place of ``kind``."""
    family = FAMILIES[kind]
    return [(name, READINGS[name]) for name in FAMILIES if FAMILIES[name] == family]


def tried(channel: str, fields: FieldMap, payload: str) -> dict[str, Any]:
    """What would be read of a payload by this map; names and phones masked, nothing kept."""
    connector = CONNECTORS[channel](NOBODY, field_map=fields)
    try:
        document = connector.read_document(payload.encode(errors="surrogatepass"))
    except Unreadable as reason:
        return {"refused": str(reason)}
    shown = document_json(document)
    for row, order in zip(shown.get("orders", ()), document.orders, strict=False):
        if order.receiver is not None:
            row["receiver"] |= {
                "name": mask_name(order.receiver.name),
                "phone": mask_phone(order.receiver.phone),
                "address_length": len(order.receiver.address),
            }
    return shown
