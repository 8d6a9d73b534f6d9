"""A form out of a page, as a browser without a script would send it."""

from html.parser import HTMLParser
from typing import Any


class _Form(HTMLParser):
    """Collects the fields of one form, those that stand outside it and name it included."""

    def __init__(self, form_id: str) -> None:
        super().__init__()
        self.form_id, self.inside = form_id, False
        self.fields: dict[str, list[str]] = {}
        self.select = self.area = ""
        self.options: list[tuple[str, bool]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.inside = told.get("id") == self.form_id
        if not self.inside and told.get("form") != self.form_id and tag != "option":
            return
        name = told.get("name", "")
        if tag == "input" and name and told.get("type") != "file":
            ticks = told.get("type") in {"checkbox", "radio"}
            if not ticks or "checked" in told:
                self.fields.setdefault(name, []).append(told.get("value", "on" if ticks else ""))
        elif tag == "select":
            self.select, self.options = name, []
        elif tag == "textarea":
            self.area, self.text = name, []
        elif tag == "option" and self.select:
            self.options.append((told.get("value", ""), "selected" in told))

    def handle_data(self, data: str) -> None:
        if self.area:
            self.text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.inside = False
        elif tag == "select" and self.select:
            picked = [value for value, on in self.options if on] or [
                value for value, _ in self.options[:1]
            ]
            if picked:
                self.fields.setdefault(self.select, []).append(picked[-1])
            self.select = ""
        elif tag == "textarea" and self.area:
            text = "".join(self.text).removeprefix("\n")
            self.fields.setdefault(self.area, []).append(text)
            self.area = ""


def fields_of(answer: Any, form_id: str) -> dict[str, list[str]]:
    """What a browser would send of the form with this id, no button pressed."""
    parser = _Form(form_id)
    parser.feed(answer.content.decode())
    parser.close()
    return parser.fields
