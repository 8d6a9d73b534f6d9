"""The conditions of a rule as the rows of a form: read from a rule, from a post, and back.

What somebody typed stays as it was typed until it is a rule; what is wrong is said beside it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

FACT: Final = "fact"
GROUPS: Final[tuple[tuple[str, Promise], ...]] = (
    ("all", _("全部满足")),
    ("any", _("任意一条满足")),
    ("not_any", _("一条都不满足")),
    ("not_all", _("没有全部满足")),
)
MOST_PARTS: Final = 200
LONGEST_NAME: Final = 40
DEEPEST: Final = 3
"""Groups within groups a form offers; a rule that people read has one or two."""
_PATH: Final = re.compile(r"0(?:\.\d{1,3}){0,8}")
_NOT: Final = {"all": "not_all", "any": "not_any"}


@dataclass(slots=True)
class Part:
    """One row of the form: a comparison, or a group of rows.

    ``values`` are picked, ``words`` typed into one field; ``args`` are the fact's parameters as
    typed, by name. ``path`` is where the row stands: ``0`` the outermost group, ``0.2`` its third
    row; ``where`` is its place in the rule.
    """

    kind: str = FACT
    parts: list["Part"] = field(default_factory=list)
    fact: str = ""
    op: str = ""
    values: list[str] = field(default_factory=list)
    words: str = ""
    args: dict[str, list[str]] = field(default_factory=dict)
    path: str = "0"
    where: str = "when"
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def is_group(self) -> bool:
        return self.kind != FACT

    @property
    def may_nest(self) -> bool:
        return self.path.count(".") < DEEPEST

    def walk(self) -> Iterator["Part"]:
        """This row and all below it, in the order they are drawn."""
        yield self
        for part in self.parts:
            yield from part.walk()

    def number(self, path: str = "0") -> None:
        """Say where every row stands now."""
        self.path = path
        for n, part in enumerate(self.parts):
            part.number(f"{path}.{n}")


def root_of(when: Mapping[str, Any]) -> Part:
    """The outermost group of a rule's conditions."""
    root = _part(when)
    if not root.is_group:
        root = Part("all", [root])
    if root.kind == "all" and len(root.parts) == 1 and root.parts[0].is_group:
        root = root.parts[0]
    root.number()
    return root


def _part(node: Mapping[str, Any]) -> Part:
    for kind in ("all", "any"):
        if isinstance(parts := node.get(kind), list):
            return Part(kind, [_part(part) for part in parts if isinstance(part, Mapping)])
    if isinstance(inner := node.get("not"), Mapping):
        turned = _part(inner)
        if turned.kind in _NOT:
            turned.kind = _NOT[turned.kind]
            return turned
        return Part("not_any", [turned])
    args = {name: texts(value) for name, value in node.items()
            if name not in {"fact", "op", "value"}}  # fmt: skip
    return Part(
        fact=str(node.get("fact", "")), op=str(node.get("op", "")),
        values=texts(node.get("value")), args=args,
    )  # fmt: skip


def texts(value: Any) -> list[str]:
    """A value of a rule as a form's field has it."""
    if value is None:
        return []
    if isinstance(value, bool):
        return ["true"] if value else ["false"]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [str(one) for one in value]
    return [str(value)]


def root_typed(post: QueryDict) -> Part:
    """The rows as they were posted; one that hangs nowhere is left out."""
    root = Part("all")
    found = {"0": root}
    for path in post.getlist("node")[:MOST_PARTS]:
        above = path.rpartition(".")[0]
        if not _PATH.fullmatch(path) or (path != "0" and path in found):
            continue
        part = root if path == "0" else Part()
        part.path = path
        part.kind = post.get(f"kind-{path}", part.kind)
        if part.kind != FACT and part.kind not in dict(GROUPS):
            part.kind = "all"
        if path == "0":
            part.kind = "all" if part.kind == FACT else part.kind
            continue
        if above not in found or not found[above].is_group:
            continue
        found[above].parts.append(part)
        found[path] = part
    args = _args_by_path(post)
    for path, part in found.items():
        if not part.is_group:
            part.fact = clean(post.get(f"fact-{path}", ""))
            if post.get(f"was-{path}", part.fact) != part.fact:
                continue  # another fact: what was typed for the old one means nothing
            part.op = clean(post.get(f"op-{path}", ""))
            part.values = [clean(text) for text in post.getlist(f"value-{path}")]
            part.words = clean(post.get(f"words-{path}", ""))
            part.args = args.get(path, {})
    root.number()
    return root


def _args_by_path(post: QueryDict) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for name in post:
        head, _sep, rest = name.partition("-")
        path, sep, arg = rest.partition("-")
        if head == "arg" and sep and len(arg) <= LONGEST_NAME:
            found.setdefault(path, {})[arg] = [clean(text) for text in post.getlist(name)]
    return found


def clean(text: str) -> str:
    """Without what no column can hold, and without blanks around it; lines stay."""
    return text.replace("\0", "").strip(" \t\u3000")


# --- steps ------------------------------------------------------------------------------------


def step(root: Part, what: str) -> None:
    """Change the rows as a button said: ``add:PATH``, ``group:PATH``, ``drop:PATH``.

    What names no row changes nothing.
    """
    verb, _sep, path = what.partition(":")
    by_path = {part.path: part for part in root.walk()}
    part, above = by_path.get(path), by_path.get(path.rpartition(".")[0])
    if part is None or len(by_path) >= MOST_PARTS:
        return
    if verb == "add" and part.is_group:
        part.parts.append(Part())
    elif verb == "group" and part.is_group and part.may_nest:
        part.parts.append(Part("any", [Part()]))
    elif verb == "drop" and above is not None:
        above.parts.remove(part)
    root.number()
