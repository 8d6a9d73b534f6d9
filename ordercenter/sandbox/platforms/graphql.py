"""As much of GraphQL as a stand-in needs: which fields are asked for, and with what arguments.

Selections are not obeyed: who asks for an order gets all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
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

    def selections(self) -> dict[str, dict[str, Any]]:
        """The fields between braces, by response name, with their arguments; no deeper."""
        found: dict[str, dict[str, Any]] = {}
        self.expect("{")
        while not self.skip("}"):
            if self.skip("..."):
                message = "fragments are not understood at the top"
                raise SyntaxProblem(message)
            name = self.name()
            if self.skip(":"):  # an alias
                name = self.name()
            found[name] = self.arguments()
            if self.peek() == ("mark", "{"):
                self._pass_over()
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

    def _pass_over(self) -> None:
        depth = 0
        while True:
            token = self.take()
            if token == ("end", ""):
                message = "a brace is missing"
                raise SyntaxProblem(message)
            depth += {("mark", "{"): 1, ("mark", "}"): -1}.get(token, 0)
            if depth == 0:
                return


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


def read_operation(
    query: str, variables: Mapping[str, Any]
) -> tuple[str, dict[str, dict[str, Any]]]:
    """``query`` or ``mutation``, and its top fields with their arguments filled in.

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
