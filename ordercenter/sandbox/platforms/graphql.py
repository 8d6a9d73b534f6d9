"""As much of GraphQL as a stand-in needs: which fields are asked for, and with what arguments.

Selections are read for the arguments inside them, not obeyed: who asks for an order gets all
of it. What a named fragment holds is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

TOKEN: Final = re.compile(
    r'"""(?P<block>.*?)"""|"(?P<text>(?:[^"\\\n]|\\.)*)"|(?P<number>-?\d+(?:\.\d+)?)'
    r"|\$(?P<variable>\w+)|(?P<name>[A-Za-z_]\w*)|(?P<mark>\.\.\.|[!():\[\]{}=|@&])"
    r"|(?P<skip>[\s,\ufeff]+|#[^\n]*)",
    re.DOTALL,
)
WORDS: Final = {"true": True, "false": False, "null": None}


class SyntaxProblem(ValueError):
    """The query cannot be read."""


@dataclass(slots=True)
class Field:
    """A field that is asked for, with its arguments and directives filled in."""

    name: str
    arguments: dict[str, Any]
    directives: dict[str, dict[str, Any]] = field(default_factory=dict)
    fields: dict[str, Field] = field(default_factory=dict)
    """What is selected inside, by response name."""

    def inner(self, *path: str) -> Field | None:
        """The field found by going down ``path`` by name, ``nodes`` and ``edges`` passed over."""
        found: Field | None = self
        for name in path:
            found = None if found is None else found._child(name)
        return found

    def _child(self, name: str) -> Field | None:
        for child in self.fields.values():
            if child.name == name:
                return child
            if child.name in {"nodes", "edges", "node"} and (deep := child._child(name)):
                return deep
        return None


class Reader:
    """Walks over the tokens of one query."""

    def __init__(self, query: str, variables: Mapping[str, Any]) -> None:
        self.variables = variables
        self.tokens = list(tokens(query))
        self.at = 0

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def take(self) -> tuple[str, str]:
        token = self.peek()
        self.at += 1
        return token

    def skip(self, mark: str) -> bool:
        if self.peek() != ("mark", mark):
            return False
        self.at += 1
        return True

    def expect(self, mark: str) -> None:
        if not self.skip(mark):
            message = f"expected {mark!r}, got {self.peek()[1]!r}"
            raise SyntaxProblem(message)

    def name(self) -> str:
        kind, text = self.take()
        if kind != "name":
            message = f"expected a name, got {text!r}"
            raise SyntaxProblem(message)
        return text

    def value(self) -> Any:
        kind, text = self.take()
        if kind == "mark" and text == "[":
            return list(self._until("]"))
        if kind == "mark" and text == "{":
            return self._pairs("}")
        if kind == "variable":
            return self.variables.get(text)
        return plain(kind, text)

    def arguments(self) -> dict[str, Any]:
        return self._pairs(")") if self.skip("(") else {}

    def selections(self) -> dict[str, Field]:
        """The fields between braces, by response name."""
        found: dict[str, Field] = {}
        self.expect("{")
        while not self.skip("}"):
            if self.peek() == ("end", ""):
                message = "a brace is missing"
                raise SyntaxProblem(message)
            if self.skip("..."):
                found |= self._fragment()
            else:
                response, asked = self._field()
                found[response] = asked
        return found

    def _field(self) -> tuple[str, Field]:
        response = name = self.name()
        if self.skip(":"):
            name = self.name()
        asked = Field(name, self.arguments(), self._directives())
        if self.peek() == ("mark", "{"):
            asked.fields = self.selections()
        return response, asked

    def _fragment(self) -> dict[str, Field]:
        """What stands in an inline fragment; of a named one nothing."""
        if self.peek() == ("name", "on"):
            self.name()
            self.name()
        elif self.peek()[0] == "name":
            self.name()
            self._directives()
            return {}
        self._directives()
        return self.selections()

    def _directives(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        while self.skip("@"):
            name = self.name()
            found[name] = self.arguments()
        return found

    def _until(self, mark: str) -> Iterator[Any]:
        while not self.skip(mark):
            yield self.value()

    def _pairs(self, mark: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not self.skip(mark):
            name = self.name()
            self.expect(":")
            found[name] = self.value()
        return found


def tokens(query: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(query):
        match = TOKEN.match(query, at)
        if match is None:
            message = f"unexpected character {query[at]!r}"
            raise SyntaxProblem(message)
        at = match.end()
        kind = str(match.lastgroup)
        if kind != "skip":
            yield kind, match[kind]


def plain(kind: str, text: str) -> Any:
    """The value of one token; an enum is its name."""
    if kind == "text":
        return unescape(text)
    if kind == "block":
        return text
    if kind == "number":
        return float(text) if "." in text else int(text)
    if kind == "name":
        return WORDS.get(text, text)
    message = f"unexpected {text!r}"
    raise SyntaxProblem(message)


def unescape(text: str) -> str:
    return re.sub(
        r"\\(u[0-9a-fA-F]{4}|.)",
        lambda m: (
            chr(int(m[1][1:], 16)) if len(m[1]) == 5 else {"n": "\n", "t": "\t"}.get(m[1], m[1])
        ),
        text,
    )


def read_operation(query: str, variables: Mapping[str, Any]) -> tuple[str, dict[str, Field]]:
    """``query`` or ``mutation``, and its top fields by response name.

    Raises SyntaxProblem. The default values of variables are not looked at.
    """
    reader = Reader(query, variables)
    kind = "query"
    if reader.peek()[0] == "name":
        kind = reader.name()
        if kind not in {"query", "mutation"}:
            message = f"{kind!r} is no operation"
            raise SyntaxProblem(message)
        while reader.peek() != ("mark", "{"):  # its name and the types of its variables
            if reader.take() == ("end", ""):
                message = "a selection is missing"
                raise SyntaxProblem(message)
    return kind, reader.selections()
