"""The rules, through the doors: read, drafted, tried, counted, reported, made live, taken back."""

import json
import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection
from django.test import Client
from psycopg.errors import QueryCanceled

from ordercenter.audit.models import Action, AuditRecord
from ordercenter.console import rule_counts, rule_reports
from ordercenter.console.rule_edit import changed, free_code
from ordercenter.core.clock import now
from ordercenter.core.policy import Role
from ordercenter.pipeline import backtests
from risk import lists
from risk.models import Backtest, RuleSet, ShadowVerdict
from risk.setwise.compiling import hits_sql
from tests.console.conftest import AsRole
from tests.console.posting import fields_of
from tests.pipeline.seller import Seller, draft, line, open_seller, take, take_one

pytestmark = pytest.mark.django_db
BOSS, OTHER = Role.OPERATIONS_SUPERVISOR, Role.WAREHOUSE_SUPERVISOR
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


def rule(code: str = "big", *, limit: str = "5", tier: str = "2", **more: Any) -> dict[str, Any]:
    when = {"all": [{"fact": "units", "op": ">", "value": limit}]}
    return {"code": code, "name": f"规则 {code}", "when": when, "outcome": {"tier": tier}, **more}


@pytest.fixture
def boss(as_role: AsRole) -> Client:
    return as_role(BOSS, username="boss")


@pytest.fixture
def other(as_role: AsRole) -> Client:
    return as_role(OTHER, username="other")


@pytest.fixture
def seller() -> Seller:
    return open_seller()


def live(*rules: dict[str, Any]) -> RuleSet:
    RuleSet.objects.filter(is_live=True).update(is_live=False)
    at = now()
    version = RuleSet.objects.count() + 1
    return RuleSet.objects.create(
        version=version, is_live=True, rules=list(rules), committed_at=at, activated_at=at
    )


def text(answer: Any) -> str:
    found: str = answer.content.decode()
    return found


def new_draft(client: Client, *rules: dict[str, Any]) -> RuleSet:
    """A draft of the live set; with rules, of these."""
    answer = client.post("/rules/new/")
    assert answer.status_code == 302
    row = RuleSet.objects.latest("version")
    if rules:
        RuleSet.objects.filter(pk=row.pk).update(rules=list(rules))
        row.refresh_from_db()
    return row


def press(client: Client, row: RuleSet, verb: str, code: str = "", **more: Any) -> Any:
    row.refresh_from_db()
    data = {"verb": verb, "code": code, "edits": row.edits, **more}
    return client.post(f"/rules/{row.version}/edit/", data)


# --- what decides now -----------------------------------------------------------------------------


def test_without_a_live_set_the_shipped_rules_are_shown(boss: Client) -> None:
    page = text(boss.get("/rules/"))
    assert "出厂规则生效中" in page
    assert "疑似重复" in page
    assert "没有草稿" in page


def test_the_live_rules_stand_in_sentences_with_what_they_stopped(
    boss: Client, seller: Seller
) -> None:
    live(rule(limit="5"), rule("off", enabled=False), rule("tag", limit="900", tier="0"))
    take(seller.shop, *(draft(line("SOFA", 6)) for _ in range(3)), draft(line("SOFA", 1)))
    page = text(boss.get("/rules/"))
    assert "件数超过 5 件 → 挂起待人工审核" in page
    assert "启用 2 条" in page
    assert re.search(r"<b>3</b>\s*<span class=\"code\">近 7 天拦下", page)
    assert page.count("近 7 天拦下") == 2  # a tag stops nothing
    assert "已关闭" in page


def test_lists_are_called_by_their_names(boss: Client) -> None:
    lists.ensure_lists()
    listed = {"all": [{"fact": "in_list", "list": "no_service", "op": "is", "value": True}]}
    live(rule() | {"when": listed})
    assert "在名单“快递不可达地区”上" in text(boss.get("/rules/"))


def test_hostile_names_and_words_are_inert(boss: Client) -> None:
    bad = rule(name=HOSTILE[:60]) | {
        "when": {"all": [{"fact": "remark", "op": "has_any", "value": [HOSTILE]}]}
    }
    row = live(bad)
    draft_ = new_draft(boss)
    for path in ("/rules/", f"/rules/{row.version}/", f"/rules/{draft_.version}/edit/",
                 f"/rules/{draft_.version}/edit/big/"):  # fmt: skip
        page = text(boss.get(path))
        assert "<script>alert" not in page
        assert "<img src=x" not in page


def test_a_set_that_cannot_be_read_is_shown_with_its_fault(boss: Client) -> None:
    row = new_draft(boss, rule() | {"outcome": {"tier": "9"}}, rule("good"))
    page = text(boss.get(f"/rules/{row.version}/edit/"))
    assert "级别应为" in page
    assert "有 1 条规则读不懂" in page
    assert boss.get(f"/rules/{row.version}/edit/big/").status_code == 200


# --- a draft --------------------------------------------------------------------------------------


def test_a_drafts_cards_are_copied_moved_switched_and_removed(boss: Client) -> None:
    live(rule("a"), rule("b"))
    row = new_draft(boss)

    def codes() -> list[str]:
        row.refresh_from_db()
        return [one["code"] for one in row.rules]

    press(boss, row, "copy", "a")
    assert codes() == ["a", "a_2", "b"]
    press(boss, row, "down", "a")
    assert codes() == ["a_2", "a", "b"]
    press(boss, row, "toggle", "b")
    row.refresh_from_db()
    assert row.rules[2]["enabled"] is False
    press(boss, row, "remove", "a_2")
    assert codes() == ["a", "b"]
    edits = row.edits
    press(boss, row, "up", "a")  # it is the first
    press(boss, row, "remove", "gone")
    row.refresh_from_db()
    assert row.edits == edits
    assert RuleSet.objects.get(is_live=True).rules == [rule("a"), rule("b")]


def test_pressing_a_button_twice_does_it_once(boss: Client) -> None:
    live(rule("a"), rule("b"))
    row = new_draft(boss)
    first = {"verb": "toggle", "code": "a", "edits": 0}
    assert boss.post(f"/rules/{row.version}/edit/", first).status_code == 302
    again = boss.post(f"/rules/{row.version}/edit/", first)
    assert again.status_code == 409
    assert "已被" in text(again)
    row.refresh_from_db()
    assert row.rules[0]["enabled"] is False


def test_codes_of_copies_are_free_and_short() -> None:
    rules = [{"code": "a"}, {"code": "a_2"}, {"code": "x" * 40}]
    assert free_code(rules, "a_2") == "a_3"
    assert len(free_code(rules, "x" * 40)) <= 40
    assert changed(rules, "copy", "nothing") == rules


def test_a_note_is_kept_and_a_long_one_refused(boss: Client) -> None:
    row = new_draft(boss)
    assert press(boss, row, "note", note="双十一前收紧").status_code == 302
    assert press(boss, row, "note", note="长" * 201).status_code == 422
    row.refresh_from_db()
    assert row.note == "双十一前收紧"


def test_who_may_not_edit_gets_no_draft(as_role: AsRole) -> None:
    reviewer = as_role(Role.REVIEWER)
    assert 'action="/rules/new/"' not in text(reviewer.get("/rules/"))
    assert reviewer.post("/rules/new/").status_code == 403
    assert not RuleSet.objects.exists()


# --- one rule -------------------------------------------------------------------------------------


def fill(form: dict[str, list[str]], **values: Any) -> dict[str, Any]:
    return {**form, **values}


def test_a_rule_is_built_from_nothing_without_a_script(boss: Client, seller: Seller) -> None:
    take(seller.shop, *(draft(line("SOFA", 6)) for _ in range(2)), draft(line("SOFA", 1)))
    row = new_draft(boss, rule())
    url = f"/rules/{row.version}/add/"
    form = fields_of(boss.get(url), "rule-form")
    form = fields_of(
        boss.post(url, fill(form, step="draw", **{"fact-0.0": "province"})), "rule-form"
    )
    form |= {"value-0.0": ["江苏省"], "name": ["江苏大单"]}
    form = fields_of(boss.post(url, fill(form, step="add:0")), "rule-form")
    form = fields_of(boss.post(url, fill(form, step="draw", **{"fact-0.1": "units"})), "rule-form")
    assert form["value-0.0"] == ["江苏省"]  # nothing typed was lost on the way
    form |= {"op-0.1": [">"], "value-0.1": ["5"]}
    counted = text(boss.post(url, fill(form, verb="count")))
    assert "收货省份属于 江苏省，且件数超过 5 件" in counted
    assert "近 7 天会命中 <b>2</b> 单" in counted
    assert boss.post(url, fill(form, verb="save")).status_code == 302
    row.refresh_from_db()
    assert row.rules[1]["when"] == {
        "all": [
            {"fact": "province", "op": "in", "value": ["江苏省"]},
            {"fact": "units", "op": ">", "value": "5"},
        ]
    }
    assert row.rules[1]["code"] == "rule_2"
    record = AuditRecord.objects.filter(action=Action.RULES_CHANGED).latest("pk")
    assert record.change["added"] == ["rule_2"]


def test_what_is_wrong_comes_back_with_everything_typed(boss: Client) -> None:
    row = new_draft(boss, rule())
    url = f"/rules/{row.version}/edit/big/"
    form = fields_of(boss.get(url), "rule-form")
    form |= {"value-0.0": ["许多"], "name": ["新名字"], "tag": ["加急"]}
    answer = boss.post(url, fill(form, verb="save"))
    assert answer.status_code == 422
    assert "请填数字" in text(answer)
    again = fields_of(answer, "rule-form")
    assert (again["value-0.0"], again["name"], again["tag"]) == (["许多"], ["新名字"], ["加急"])
    row.refresh_from_db()
    assert row.rules == [rule()]


def test_who_saves_second_sees_both_and_decides(boss: Client, other: Client) -> None:
    row = new_draft(boss, rule(), rule("b"))
    url = f"/rules/{row.version}/edit/big/"
    mine, theirs = (fields_of(client.get(url), "rule-form") for client in (boss, other))
    assert other.post(url, fill(theirs, verb="save", **{"value-0.0": "7"})).status_code == 302
    answer = boss.post(url, fill(mine, verb="save", **{"value-0.0": "9"}))
    page = text(answer)
    assert answer.status_code == 409
    assert "件数超过 7 件" in page
    assert "件数超过 9 件" in page
    row.refresh_from_db()
    assert row.rules[0]["when"]["all"][0]["value"] == "7"
    assert boss.post(url, fill(fields_of(answer, "rule-form"), verb="mine")).status_code == 302
    row.refresh_from_db()
    assert row.rules[0]["when"]["all"][0]["value"] == "9"
    assert row.rules[1] == rule("b")


def test_a_rule_removed_meanwhile_is_said_and_can_be_put_back(boss: Client, other: Client) -> None:
    row = new_draft(boss, rule(), rule("b"))
    url = f"/rules/{row.version}/edit/big/"
    form = fields_of(boss.get(url), "rule-form")
    press(other, row, "remove", "big")
    answer = boss.post(url, fill(form, verb="save"))
    assert answer.status_code == 409
    assert "这条规则已被移除" in text(answer)
    boss.post(url, fill(fields_of(answer, "rule-form"), verb="mine"))
    row.refresh_from_db()
    assert [one["code"] for one in row.rules] == ["b", "big"]


@pytest.mark.parametrize("path", ["edit/big/", "add/", "look/"])
def test_what_is_closed_has_no_form(boss: Client, path: str) -> None:
    row = live(rule())
    assert boss.post(f"/rules/{row.version}/{path}", {"verb": "save"}).status_code == 404
    assert boss.get(f"/rules/{row.version}/edit/").status_code == 302


# --- beside the form ------------------------------------------------------------------------------


def aside(client: Client, row: RuleSet, verb: str = "count", **values: Any) -> str:
    form = fields_of(client.get(f"/rules/{row.version}/edit/big/"), "rule-form")
    answer = client.post(f"/rules/{row.version}/look/", fill(form, verb=verb, **values))
    assert answer.status_code == 200
    return text(answer)


def test_the_count_is_of_seven_days_and_names_the_newest(boss: Client, seller: Seller) -> None:
    at = now()
    take(seller.shop, draft(line("SOFA", 9), at=at - timedelta(days=8)))
    first, second = take(
        seller.shop, draft(line("SOFA", 6), at=at - timedelta(days=6)), draft(line("SOFA", 7))
    )
    row = new_draft(boss, rule(), rule("b"))
    said = aside(boss, row)
    assert "会命中 <b>2</b> 单" in said
    assert said.index(second.number) < said.index(first.number)
    assert "<html" not in said


def test_a_rule_that_is_switched_off_is_counted_too(boss: Client, seller: Seller) -> None:
    take_one(seller.shop, draft(line("SOFA", 6)))
    row = new_draft(boss, rule(enabled=False))
    assert "会命中 <b>1</b> 单" in aside(boss, row)


def test_a_count_that_takes_too_long_says_so(boss: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: Any, **__: Any) -> None:
        raise OperationalError from QueryCanceled()

    row = new_draft(boss, rule())
    monkeypatch.setattr(rule_counts, "run_backtest", slow)
    assert "3 秒内没有数完" in aside(boss, row)


def test_the_database_itself_ends_a_count_that_takes_longer_than_its_box(
    boss: Client, seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(seller.shop, *(draft(line("SOFA", 6)) for _ in range(3)))
    row = new_draft(boss, rule())
    original = hits_sql

    def slowly(*told: Any) -> Any:
        nap = "WITH nap AS MATERIALIZED (SELECT pg_sleep(0.05)) SELECT q.* FROM nap, (%s) q"
        return [replace(one, text=nap.replace("%s", one.text)) for one in original(*told)]

    monkeypatch.setattr("risk.setwise.running.hits_sql", slowly)
    assert "会命中 <b>3</b> 单" in aside(boss, row)  # in its box the same count comes to an end
    monkeypatch.setattr(rule_counts, "BOX", 0)  # a statement then gets one millisecond
    assert "3 秒内没有数完" in aside(boss, row)
    assert boss.get("/rules/").status_code == 200  # the connection goes on as before


def test_one_person_counts_one_at_a_time(boss: Client, other: Client, seller: Seller) -> None:
    take_one(seller.shop, draft(line("SOFA", 6)))
    row = new_draft(boss, rule())
    lock = [rule_counts.COUNT_LOCK, User.objects.get(username="boss").pk]
    elsewhere = connection.copy()
    try:
        with elsewhere.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", lock)
            assert "data-again" in aside(boss, row)
            assert "会命中 <b>1</b> 单" in aside(other, row)
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", lock)
    finally:
        elsewhere.close()
    assert "会命中 <b>1</b> 单" in aside(boss, row)


def test_a_database_that_is_away_is_no_long_count(
    boss: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("gone")

    row = new_draft(boss, rule())
    monkeypatch.setattr(rule_counts, "run_backtest", away)
    with pytest.raises(OperationalError):
        aside(boss, row)


def test_an_unfinished_rule_says_what_it_lacks_and_counts_nothing(boss: Client) -> None:
    row = new_draft(boss, rule())
    said = aside(boss, row, **{"value-0.0": ""})
    assert "请填写数字" in said
    assert 'class="count"' not in said


def test_a_rule_is_tried_on_one_order(boss: Client, seller: Seller) -> None:
    big, small = take(seller.shop, draft(line("SOFA", 6)), draft(line("SOFA", 4)))
    row = new_draft(boss, rule())
    said = aside(boss, row, "try", order=big.number)
    assert re.search(r'class="flag bad">会命中<', said)
    said = aside(boss, row, "try", order=small.number)
    assert "不会命中" in said
    assert "件数 <b>4</b>" in said
    assert "最小的改变就会命中" in said
    assert "件数现为 4，变为 6 件" in said
    assert "找不到" in aside(boss, row, "try", order="OC-nothing")


# --- to and from other installations --------------------------------------------------------------


def hand_in(client: Client, data: Any) -> Any:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return client.post("/rules/import/", {"file": SimpleUploadedFile("rules.json", raw)})


def test_a_set_moves_to_another_installation_with_its_difference_first(boss: Client) -> None:
    row = live(rule("a"), rule("b", limit="7"))
    exported = boss.get(f"/rules/{row.version}/rules.json")
    assert "attachment" in exported["Content-Disposition"]
    told = json.loads(exported.content)
    live(rule("b", limit="9"), rule("c"))
    seen = hand_in(boss, told)
    assert seen.status_code == 200
    page = text(seen)
    assert "新增 1" in page
    assert "修改 1" in page
    assert "移除 1" in page
    assert "件数超过 9 件" in page
    assert "件数超过 7 件" in page
    count = RuleSet.objects.count()
    found = re.search(r'name="plan" value="([^"]*)"', page)
    assert found
    answer = boss.post("/rules/import/", {"verb": "draft", "plan": unescape(found[1])})
    assert answer.status_code == 302
    made = RuleSet.objects.latest("version")
    assert RuleSet.objects.count() == count + 1
    assert made.rules == told["rules"]
    assert made.state == RuleSet.State.DRAFT


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\xff\xfe not json", 422),
        (b"", 422),
        (b"[" * 100_000, 422),
        (b'{"format": "something else", "rules": []}', 422),
        (b'{"rules": [{"code": "a"}]}', 422),
        (b'[{"code": "a", "when": {"all": []}, "outcome": {"tier": "2"}, "eval": "1"}]', 422),
        (b'{"rules": NaN}', 422),
    ],
)
def test_a_file_that_is_no_set_of_rules_is_refused(boss: Client, data: bytes, status: int) -> None:
    answer = hand_in(boss, data)
    assert answer.status_code == status
    assert 'role="alert"' in text(answer)
    assert not RuleSet.objects.exists()


def test_a_preview_of_somebody_else_makes_no_draft(boss: Client, other: Client) -> None:
    found = re.search(r'name="plan" value="([^"]*)"', text(hand_in(boss, [rule()])))
    assert found
    answer = other.post("/rules/import/", {"verb": "draft", "plan": unescape(found[1])})
    assert answer.status_code == 422
    assert not RuleSet.objects.exists()


# --- before it counts -----------------------------------------------------------------------------


def commit(client: Client, row: RuleSet) -> None:
    assert press(client, row, "commit").status_code == 302
    row.refresh_from_db()


def act(client: Client, row: RuleSet, verb: str, **more: Any) -> Any:
    return client.post(f"/rules/{row.version}/report/act/", {"verb": verb, **more})


def test_a_set_is_backtested_and_its_report_read(boss: Client, seller: Seller) -> None:
    take(seller.shop, *(draft(line("SOFA", 6)) for _ in range(3)), draft(line("SOFA", 1)))
    row = new_draft(boss, rule(), rule("more", limit="4"))
    commit(boss, row)
    page = text(boss.get(f"/rules/{row.version}/report/"))
    assert "还没有回测" in page
    assert "disabled" in page
    assert act(boss, row, "backtest", days="7").status_code == 302
    assert act(boss, row, "backtest", days="7").status_code == 302  # a second press asks nothing
    (test,) = Backtest.objects.all()
    running = text(boss.get(f"/rules/{row.version}/report/?fragment=progress"))
    assert "data-running" in running
    backtests.run_stored(test.pk)
    assert "算完" in text(boss.get(f"/rules/{row.version}/report/?fragment=progress"))
    page = text(boss.get(f"/rules/{row.version}/report/"))
    assert "会拦下" in page
    assert "规则 big 与 规则 more" in page
    assert "¥1,800.00" in page
    assert "看得过来" in page
    assert "4 张未发货订单中的 3 张（75.0%）" in page


def test_a_failed_backtest_says_why(boss: Client) -> None:
    row = new_draft(boss, rule())
    act(boss, row, "backtest", days="1")
    Backtest.objects.update(state=Backtest.State.FAILED, error="计算超过时限")
    assert "计算超过时限" in text(boss.get(f"/rules/{row.version}/report/"))


def test_a_report_of_other_contents_is_marked(boss: Client, seller: Seller) -> None:
    take_one(seller.shop, draft(line("SOFA", 6)))
    row = new_draft(boss, rule())
    act(boss, row, "backtest", days="1")
    backtests.run_stored(Backtest.objects.get().pk)
    press(boss, row, "toggle", "big")
    assert "修改前的内容" in text(boss.get(f"/rules/{row.version}/report/"))


@pytest.mark.parametrize("days", ["", "0", "365", "x"])
def test_a_span_nobody_offered_is_refused(boss: Client, days: str) -> None:
    row = new_draft(boss, rule())
    assert act(boss, row, "backtest", days=days).status_code == 422
    assert not Backtest.objects.exists()


def reported(client: Client, seller: Seller, *, hits: int, of: int) -> RuleSet:
    """A committed set with a fresh report: its new rule hits so many of so many open orders."""
    live()
    take(
        seller.shop,
        *(draft(line("SOFA", 6)) for _ in range(hits)),
        *(draft(line("SOFA", 1)) for _ in range(of - hits)),
    )
    row = new_draft(client, rule())
    commit(client, row)
    act(client, row, "backtest", days="7")
    backtests.run_stored(Backtest.objects.latest("pk").pk)
    return row


def test_a_small_change_goes_live_by_one_person(boss: Client, seller: Seller) -> None:
    row = reported(boss, seller, hits=1, of=25)
    assert act(boss, row, "activate", reason="大单先看").status_code == 302
    row.refresh_from_db()
    assert row.is_live
    assert "v2 生效中" in text(boss.get("/rules/"))


def test_a_change_that_stops_many_takes_a_second_person(
    boss: Client, other: Client, seller: Seller
) -> None:
    row = reported(boss, seller, hits=2, of=20)
    page = text(boss.get(f"/rules/{row.version}/report/"))
    assert "超过 5%" in page
    assert "申请启用" in page
    act(boss, row, "activate")
    row.refresh_from_db()
    assert not row.is_live
    own = text(boss.get(f"/rules/{row.version}/report/"))
    assert "须由另一个人批准" in own
    assert 'value="approve"' not in own
    assert act(boss, row, "approve").status_code == 403
    assert "去批准" in text(other.get("/rules/"))
    page = text(other.get(f"/rules/{row.version}/report/"))
    assert "boss" in page
    assert 'value="approve"' in page
    assert act(other, row, "approve").status_code == 302
    row.refresh_from_db()
    assert row.is_live


def test_a_second_person_may_refuse_with_a_reason(
    boss: Client, other: Client, seller: Seller
) -> None:
    row = reported(boss, seller, hits=2, of=20)
    act(boss, row, "activate")
    assert act(other, row, "refuse", reason="短").status_code == 422
    assert act(other, row, "refuse", reason="大促期间先不收紧").status_code == 302
    row.refresh_from_db()
    assert row.state == RuleSet.State.COMMITTED
    assert act(other, row, "approve").status_code == 409


def test_without_a_fresh_report_nothing_goes_live(boss: Client, seller: Seller) -> None:
    row = reported(boss, seller, hits=1, of=25)
    Backtest.objects.update(done_at=now() - timedelta(hours=25))
    answer = act(boss, row, "activate")
    assert answer.status_code == 409
    assert "24 小时内" in text(answer)
    row.refresh_from_db()
    assert not row.is_live


def test_a_draft_is_not_made_live(boss: Client) -> None:
    row = new_draft(boss, rule())
    assert act(boss, row, "activate").status_code == 409
    assert "草稿要先定稿" in text(boss.get(f"/rules/{row.version}/report/"))


def test_who_approves_need_not_write(as_role: AsRole, boss: Client, seller: Seller) -> None:
    row = reported(boss, seller, hits=2, of=20)
    act(boss, row, "activate")
    ceo = as_role(Role.CEO)
    assert act(ceo, row, "backtest", days="7").status_code == 403
    assert act(ceo, row, "approve").status_code == 302


def test_one_goes_back_to_a_set_that_was_live(boss: Client, other: Client) -> None:
    old = live(rule("a"), rule("b"))
    row = new_draft(boss, rule("a"), rule("b"), rule("c"))
    commit(boss, row)
    page = text(boss.get(f"/rules/{old.version}/"))
    assert "回退" not in page  # it is live
    RuleSet.objects.filter(pk=old.pk).update(is_live=False)
    RuleSet.objects.filter(pk=row.pk).update(is_live=True, activated_at=now())
    page = text(boss.get(f"/rules/{old.version}/"))
    assert "回退到这个版本" in page
    assert "被关闭、移除或降级" in page
    answer = boss.post(f"/rules/{old.version}/return/", {"reason": "新规则误伤太多"})
    assert answer.status_code == 409  # it was never on record as live, so it wants a report
    assert "回测" in text(answer)


def test_a_trial_is_begun_ended_and_its_differences_judged(boss: Client, seller: Seller) -> None:
    order = take_one(seller.shop, draft(line("SOFA", 6)))
    row = new_draft(boss, rule())
    commit(boss, row)
    assert act(boss, row, "shadow").status_code == 302
    words = f"规则 big：{HOSTILE}"
    told = ShadowVerdict.objects.create(
        order=order, rule_set_version=row.version, live_version=0, tier="2", live_tier="0",
        hits=[{"code": "big", "tier": "2", "words": words}], live_hits=[], created_at=now(),
    )  # fmt: skip
    page = text(boss.get(f"/rules/{row.version}/report/"))
    assert "结束试运行" in page
    assert order.number in page
    assert "<script>alert" not in page
    assert act(boss, row, "label", label="right").status_code == 422  # nothing is ticked
    assert act(boss, row, "label", label="maybe", pick=told.pk).status_code == 422
    assert act(boss, row, "label", label="right", pick=[told.pk, "x"]).status_code == 302
    told.refresh_from_db()
    assert told.label == "right"
    page = text(boss.get(f"/rules/{row.version}/report/"))
    assert "没有待看的差异" in page
    assert "准确 100.0%" in page
    assert "试运行对" in text(boss.get(f"/rules/{row.version}/report/?labeled=1"))
    assert act(boss, row, "unshadow").status_code == 302
    row.refresh_from_db()
    assert not row.is_shadow


def test_a_verb_nobody_offered_is_not_there(boss: Client) -> None:
    row = new_draft(boss, rule())
    assert act(boss, row, "delete").status_code == 404
    assert press(boss, row, "delete").status_code == 404


def test_pages_take_few_statements_however_many_rules(
    boss: Client, django_assert_max_num_queries: Any
) -> None:
    row = live(*(rule(f"r{n}") for n in range(60)))
    made = new_draft(boss)
    for path, most in (("/rules/", 14), (f"/rules/{row.version}/", 12),
                       (f"/rules/{made.version}/edit/", 12),
                       (f"/rules/{made.version}/edit/r7/", 14)):  # fmt: skip
        with django_assert_max_num_queries(most):
            assert boss.get(path).status_code == 200


def test_an_empty_report_is_drawn() -> None:
    found = rule_reports.figures_of({"by_hour": [0] * 24, "rules": [], "by_channel": {}})
    assert found.right is None
    assert [bar.most for bar in found.hours] == [0] * 24
