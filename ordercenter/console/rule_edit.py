"""A draft under construction: its rules as cards, and one rule at a time as a form."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from ordercenter.console import rule_pages as pages
from ordercenter.console.access import me, page
from ordercenter.console.rule_counts import Catch, catch_of
from ordercenter.console.rule_drawing import offers, outline
from ordercenter.console.rule_form import FORM, RuleForm
from ordercenter.console.rule_tree import Part
from ordercenter.core.actor import Actor
from ordercenter.core.errors import InvalidInput, OrderCenterError
from ordercenter.core.policy import Can
from ordercenter.pipeline.rule_trial import Trial, try_rule
from risk import sets
from risk.errors import StaleRules
from risk.language import MAX_CODE, MAX_NAME
from risk.models import RuleSet

NEW: Final = ""
"""The code of a rule that is not in the set yet."""
_TAIL: Final = re.compile(r"_\d{1,4}$")
Rules = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Aside:
    """What stands beside a form: the rule in words, its catch, how it does on one order."""

    words: str = ""
    errors: Sequence[str] = ()
    catch: Catch | None = None
    trial: Trial | None = None
    refusal: str = ""


# --- the draft ------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.EDIT_RULES)
def draft_page(request: HttpRequest, version: int) -> HttpResponse:
    """Every rule of a draft as a card; a button changes the set and comes back here."""
    row = pages.set_or_404(version)
    if row.state != RuleSet.State.DRAFT:
        return redirect("rules_set", version)
    if request.method != "POST":
        return _draw_draft(request, row)
    try:
        return _act(request, row)
    except StaleRules as refusal:
        return _draw_draft(request, row, error=str(refusal), status=refusal.http_status)
    except InvalidInput as refusal:
        return _draw_draft(request, row, error=str(refusal), status=refusal.http_status)


def _act(request: HttpRequest, row: RuleSet) -> HttpResponse:
    verb, code = request.POST.get("verb", ""), request.POST.get("code", "")
    seen, user, actor = _seen(request), me(request), Actor.of(request)
    here = HttpResponseRedirect(reverse("rules_edit", args=[row.version]))
    if verb == "commit":
        sets.commit_draft(row.pk, user, seen_edits=seen, actor=actor)
        messages.success(request, _("v%(version)s 已定稿，内容不会再变；回测之后可以启用")
                         % {"version": row.version})  # fmt: skip
        return redirect("rules_report", row.version)
    if verb == "note":
        sets.save_draft(row.pk, row.rules, seen, user, note=request.POST.get("note", ""),
                        actor=actor)  # fmt: skip
        return here
    if verb not in _ACTS:
        raise Http404
    rules = changed(row.rules, verb, code)
    if rules != row.rules:
        sets.save_draft(row.pk, rules, seen, user, actor=actor)
    return here if verb == "remove" else HttpResponseRedirect(f"{here.url}#rule-{quote(code)}")


_ACTS: Final = frozenset({"remove", "copy", "up", "down", "toggle"})


def changed(rules: Rules, verb: str, code: str) -> list[Mapping[str, Any]]:
    """The rules after a button of a card was pressed; as they are where no rule has the code."""
    found = list(rules)
    place = next((n for n, rule in enumerate(found) if rule.get("code") == code), None)
    if place is None:
        return found
    rule = found[place]
    if verb == "remove":
        del found[place]
    elif verb == "toggle":
        found[place] = {**rule, "enabled": not rule.get("enabled", True)}
    elif verb == "copy":
        name = _("%(name)s（副本）") % {"name": rule.get("name", code)}
        copy = {**rule, "code": free_code(found, code), "name": name[:MAX_NAME]}
        found.insert(place + 1, copy)
    else:
        other = place - 1 if verb == "up" else place + 1
        if 0 <= other < len(found):
            found[place], found[other] = found[other], found[place]
    return found


def free_code(rules: Rules, like: str) -> str:
    """A code no rule of the set has: ``like`` with a number behind it."""
    taken = {str(rule.get("code", "")) for rule in rules} | {NEW}
    stem = _TAIL.sub("", like)[: MAX_CODE - 5] or "rule"
    return next(code for n in range(2, 10_000) if (code := f"{stem}_{n}") not in taken)


def _draw_draft(
    request: HttpRequest, row: RuleSet, *, error: str = "", status: int = HTTPStatus.OK
) -> HttpResponse:
    row.refresh_from_db()
    told = pages.told_rules(row.rules)
    context = {
        "row": row,
        "rules": told,
        "change": pages.difference_of(row),
        "unreadable": [rule for rule in told if rule.error],
        "error": error,
    }
    return render(request, "console/rules/draft.html", context, status=int(status))


def _seen(request: HttpRequest) -> int:
    """The save the form was drawn from; one that names none has seen nothing."""
    text = request.POST.get("edits", "")
    return int(text) if text.isdecimal() and len(text) < len("2147483648") else -1


# --- one rule -------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@page(Can.EDIT_RULES)
def rule_page(request: HttpRequest, version: int, code: str = NEW) -> HttpResponse:
    """One rule as a form. Without a script every change of shape is a round trip.

    What was typed comes back whatever was wrong with it.
    """
    row = _draft_or_404(version)
    stored = _stored(row, code)
    if request.method != "POST":
        form = RuleForm.of(stored) if stored else blank()
        return _draw(request, row, code, form, seen=row.edits, is_fresh=True)
    form = RuleForm.typed(request.POST, stored)
    verb = request.POST.get("verb", "")
    if what := request.POST.get("step", ""):
        form.take_step(what)
        return _draw(request, row, code, form, seen=_seen(request))
    if verb in {"count", "try"}:
        return _draw(request, row, code, form, seen=_seen(request), aside=_aside(request, form))
    if verb not in {"save", "mine"}:
        raise Http404
    return _keep(request, row, code, form)


def _keep(request: HttpRequest, row: RuleSet, code: str, form: RuleForm) -> HttpResponse:
    """Save the rule, or draw the form again with what is wrong."""
    seen = _seen(request)
    if form.program() is None:
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        return _draw(request, row, code, form, seen=seen, status=status)
    try:
        _save(request, row, code, form, seen)
    except StaleRules as refusal:
        return _conflict(request, row.version, code, form, refusal)
    except InvalidInput as refusal:
        form.errors[FORM] = str(refusal)
        return _draw(request, row, code, form, seen=seen, status=refusal.http_status)
    messages.success(request, _("“%(name)s”已保存到草稿") % {"name": form.first("name")})
    return redirect("rules_edit", row.version)


def _save(request: HttpRequest, row: RuleSet, code: str, form: RuleForm, seen: int) -> None:
    """Put the rule into the set that was seen; ``row`` is read before, and its save is checked."""
    rule = form.rule()
    if code == NEW:
        rule["code"] = free_code(row.rules, "rule")
        rules = [*row.rules, rule]
    else:
        rule["code"] = code
        rules = [rule if one.get("code") == code else one for one in row.rules]
        if rule not in rules:  # somebody took it out meanwhile, and this one wants it back
            rules.append(rule)
    if row.edits != seen:
        raise StaleRules(version=row.version, who=_("他人"))
    sets.save_draft(row.pk, rules, seen, me(request), actor=Actor.of(request))


def _conflict(
    request: HttpRequest, version: int, code: str, form: RuleForm, refusal: OrderCenterError
) -> HttpResponse:
    """Both stand side by side: what is stored by now, and what was typed."""
    row = _draft_or_404(version)
    theirs = next((one for one in row.rules if one.get("code") == code), None)
    context = {
        "conflict": str(refusal),
        "theirs": pages.told_rule(theirs) if theirs else None,
        "mine": pages.told_rule(form.rule() | {"code": code}),
    }
    return _draw(request, row, code, form, seen=row.edits, status=HTTPStatus.CONFLICT, more=context)


@require_POST
@page(Can.EDIT_RULES)
def look(request: HttpRequest, version: int) -> HttpResponse:
    """What stands beside the form, for the script that asks while somebody types."""
    row = _draft_or_404(version)
    form = RuleForm.typed(request.POST, _stored(row, request.POST.get("code", "")))
    return render(request, "console/rules/parts/aside.html", {"aside": _aside(request, form)})


def _aside(request: HttpRequest, form: RuleForm) -> Aside:
    program = form.program()
    if program is None:
        return Aside(errors=form.problems())
    words = pages.words_of((*program.rules, *program.off)[0], pages.list_names())
    number = request.POST.get("order", "").replace("\0", "").strip()
    trial, refusal = None, ""
    if request.POST.get("verb") == "try":
        try:
            trial = try_rule(form.rule(), number, user=me(request))
        except OrderCenterError as error:
            refusal = str(error)
    return Aside(words, catch=catch_of(form.rule(), user=me(request)), trial=trial, refusal=refusal)


def _draw(
    request: HttpRequest,
    row: RuleSet,
    code: str,
    form: RuleForm,
    *,
    seen: int,
    status: int = HTTPStatus.OK,
    aside: Aside | None = None,
    is_fresh: bool = False,
    more: Mapping[str, Any] | None = None,
) -> HttpResponse:
    if aside is None and is_fresh and code != NEW:
        aside = Aside(pages.told_rule(form.rule(), names=pages.list_names()).words)
    context = {
        "row": row,
        "code": code,
        "form": form,
        "outline": outline(form, offers()),
        "seen": seen,
        "aside": aside or Aside(),
        "is_new": code == NEW,
        "order": request.POST.get("order", "")[:32],
        **(more or {}),
    }
    return render(request, "console/rules/rule.html", context, status=int(status))


def blank() -> RuleForm:
    """A new rule: nothing is chosen but that a hit is looked at by people."""
    form = RuleForm.of({"outcome": {"tier": "2"}})
    form.root.parts = [Part()]
    form.root.number()
    return form


def _draft_or_404(version: int) -> RuleSet:
    row = pages.set_or_404(version)
    if row.state != RuleSet.State.DRAFT:
        raise Http404
    return row


def _stored(row: RuleSet, code: str) -> Mapping[str, Any]:
    """The rule as it is in the set; empty for a new one, and for one that is gone."""
    return next((one for one in row.rules if one.get("code") == code), {})
