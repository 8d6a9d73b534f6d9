"""A whole configuration from one installation to another."""

import json
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from channels_sync.models import CarrierCode, FieldMap
from fulfillment.models import StageClock
from inventory.models import ChannelQuota, SafetyStock, StockPolicy
from ordercenter.audit.models import AuditRecord
from ordercenter.catalog.models import GiftStrategy, GiftTier, Listing, ListingVersion, Shop
from ordercenter.core.clock import now as clock_now
from ordercenter.core.errors import InvalidInput
from ordercenter.core.policy import Role
from ordercenter.pipeline import config
from risk import lists, sets
from risk.models import RuleList, RuleListEntry, RuleSet
from tests.factories import (
    FieldMapFactory,
    GiftStrategyFactory,
    GiftTierFactory,
    ShopFactory,
    user_with,
)
from tests.pipeline.seller import Seller
from tests.risk.rule_life import a_rule, live

pytestmark = pytest.mark.django_db


@pytest.fixture
def everything() -> User:
    """Somebody who may change all of it."""
    return user_with(Role.OPERATIONS_SUPERVISOR, Role.IT, username="all-rights")


@pytest.fixture
def seller(seller: Seller) -> Seller:
    """One of everything that is configuration."""
    Shop.objects.filter(pk=seller.shop.pk).update(code="main", unpaid_hold_minutes=45)
    seller.shop.refresh_from_db()
    live(a_rule(), a_rule("frozen", tier="3"), version=5)
    RuleList.objects.create(code="words", name="词", kind="other", key="word", note="备注")
    RuleList.objects.create(code="bad", name="黑", kind="black", key="phone")
    user = user_with(Role.OPERATIONS_SUPERVISOR, username="filler")
    lists.add_entries("words", [lists.Told("代拍", "常见")], user=user)
    lists.add_entries("bad", [lists.Told("13912345678", "退款")], user=user)
    StageClock.objects.update_or_create(stage="pick", defaults={"minutes": 77})
    CarrierCode.objects.create(channel="taobao", carrier="sf", code="SFX")
    StockPolicy.objects.update_or_create(pk=1, defaults={"replenish_below": 61})
    SafetyStock.objects.create(sku=None, method="percent", value=Decimal("7.50"))
    SafetyStock.objects.create(sku=seller.skus["LAMP"], method="units", value=3)
    quota = ChannelQuota.objects.create(shop=seller.shop, sku=None, percent=Decimal("80.00"))
    quota.warehouses.add(seller.near.warehouse)
    strategy = GiftStrategyFactory.create(code="towel", gift_sku=seller.skus["TOWEL"])
    strategy.main_skus.add(seller.skus["SOFA"])
    GiftTierFactory.create(strategy=strategy, gift_sku=seller.skus["TOWEL"])
    FieldMapFactory.create(channel="openjson", version=1, is_live=True, mapping={}, note="标准")
    return seller


def wipe() -> None:
    """The other installation: the same goods, shop and places, and no configuration."""
    for model in (RuleListEntry, RuleList, CarrierCode, SafetyStock, ChannelQuota, GiftTier,
                  GiftStrategy, FieldMap, ListingVersion, Listing, StockPolicy,
                  StageClock):  # fmt: skip
        model.objects.all().delete()
    RuleSet.objects.all().delete()
    Shop.objects.update(unpaid_hold_minutes=30)
    live(a_rule(value="1"), a_rule("mine"), version=1)


def as_file(path: Path, document: Any) -> str:
    file = path / "config.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return str(file)


def test_a_whole_configuration_moves_and_says_the_same_on_the_other_side(
    seller: Seller, everything: User
) -> None:
    document = json.loads(json.dumps(config.collect(with_persons=True)))
    assert set(config.SECTIONS) < set(document)
    wipe()
    done = config.apply(document, user=everything)
    assert {name: part.refused for name, part in done.items() if part.refused} == {}
    draft = RuleSet.objects.get(version=2)
    assert (draft.state, draft.rules) == (RuleSet.State.DRAFT, document["rules"]["rules"])
    assert sets.live_program().version == 1
    moved = json.loads(json.dumps(config.collect(with_persons=True)))
    for name in config.SECTIONS:
        if name != "rules":
            assert moved[name] == document[name], name
    assert len(document["listings"]) == 6
    assert document["gift_strategies"][0]["tiers"] == [["199.00", 0, "TOWEL", 1]]
    assert document["quotas"][0]["warehouses"] == [seller.near.warehouse.code]


def test_the_same_document_again_changes_nothing(seller: Seller, everything: User) -> None:
    document = config.collect(with_persons=True)
    before = AuditRecord.objects.count()
    done = config.apply(document, user=everything)
    assert {name: part.changes for name, part in done.items() if part.changes} == {}
    assert AuditRecord.objects.count() == before
    assert not RuleSet.objects.exclude(version=5).exists()


def test_a_dry_run_names_every_difference_and_changes_nothing(seller: Seller) -> None:
    document = config.collect()
    wipe()
    StageClock.objects.create(stage="pick", minutes=5)
    before = AuditRecord.objects.count()
    found = config.plan(document)
    assert found["stages"].changed == {"pick": {"minutes": [5, 77]}}
    assert found["rules"].added == ["frozen"]
    assert list(found["rules"].changed) == ["dear"]
    assert found["rules"].only_here == 1
    assert "main outer_code LAMP" in found["listings"].added
    assert found["shop_policies"].changed == {"main": {"unpaid_hold_minutes": [30, 45]}}
    assert AuditRecord.objects.count() == before
    assert StageClock.objects.get(stage="pick").minutes == 5


def test_keys_of_persons_stay_at_home_unless_asked_for(seller: Seller) -> None:
    told = {row["code"]: row for row in config.collect()["lists"]}
    assert "entries" not in told["bad"]
    assert [entry["value"] for entry in told["words"]["entries"]] == ["代拍"]
    told = {row["code"]: row for row in config.collect(with_persons=True)["lists"]}
    assert len(told["bad"]["entries"]) == 1
    assert "13912345678" not in json.dumps(config.collect(with_persons=True))


def test_what_does_not_fit_here_is_refused_by_row_and_the_rest_is_taken(
    seller: Seller, everything: User
) -> None:
    document = config.collect()
    wipe()
    document["listings"].append({**document["listings"][0], "shop": "elsewhere"})
    document["listings"].append({**document["listings"][0], "code": "X", "sku": "NOT-THERE"})
    document["stages"].append({"stage": "dance", "minutes": 5})
    document["shop_policies"].append({"code": "elsewhere", "unpaid_hold_minutes": 5})
    done = config.apply(document, user=everything)
    assert len(done["listings"].refused) == 2
    assert list(done["stages"].refused) == ["dance"]
    assert list(done["shop_policies"].refused) == ["elsewhere"]
    assert StageClock.objects.get(stage="pick").minutes == 77
    assert Listing.objects.count() == 6
    assert not Shop.objects.filter(code="elsewhere").exists()


def test_a_section_without_the_right_to_it_is_refused_and_the_others_are_taken(
    seller: Seller,
) -> None:
    document = config.collect()
    wipe()
    done = config.apply(document, user=user_with(Role.OPERATIONS_SUPERVISOR))
    assert set(done["carrier_codes"].refused) == {"*"}
    assert not CarrierCode.objects.exists()
    assert done["stages"].refused == {}
    assert StageClock.objects.get(stage="pick").minutes == 77
    wipe()
    done = config.apply(document, user=user_with(Role.REVIEWER))
    assert all(part.refused or not part.changes for part in done.values())
    assert RuleSet.objects.count() == 1


@pytest.mark.parametrize(
    "document",
    [
        [], "x", None, {}, {"format": "ordercenter-rules"},
        {"format": config.FORMAT, "format_version": 2},
        {"format": config.FORMAT, "format_version": 1, "passwords": []},
        {"format": config.FORMAT, "format_version": 1, "stages": {}},
        {"format": config.FORMAT, "format_version": 1, "stages": [5]},
        {"format": config.FORMAT, "format_version": 1, "stages": [{"minutes": 5}]},
        {"format": config.FORMAT, "format_version": 1, "stages": [{"stage": "pick"}] * 2},
        {"format": config.FORMAT, "format_version": 1, "rules": {"rules": [{"code": "x"}]}},
    ],
)  # fmt: skip
def test_what_is_no_configuration_is_refused_in_words(document: Any, everything: User) -> None:
    with pytest.raises(InvalidInput) as refused:
        config.plan(document)
    assert str(refused.value)
    with pytest.raises(InvalidInput):
        config.apply(document, user=everything)


def test_the_commands_write_compare_and_take_in(
    seller: Seller, everything: User, tmp_path: Path
) -> None:
    file = tmp_path / "out.json"
    call_command("export_config", "--out", str(file), stderr=StringIO())
    wipe()
    out = StringIO()
    call_command("import_config", str(file), "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert (told["applied"], told["sections"]["stages"]["added"]) == (False, ["pick"])
    assert not StageClock.objects.exists()
    with pytest.raises(CommandError, match="--user"):
        call_command("import_config", str(file), "--yes")
    out = StringIO()
    call_command("import_config", str(file), "--yes", "--user", "all-rights", stdout=out)
    assert "+ pick" in out.getvalue()
    assert StageClock.objects.get(stage="pick").minutes == 77
    out = StringIO()
    call_command("export_config", "--only", "stages", "--json", stdout=out)
    assert set(json.loads(out.getvalue())) == {"format", "format_version", "stages"}


def test_the_commands_end_with_one_clear_line_where_they_cannot(
    seller: Seller, tmp_path: Path
) -> None:
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for name in ("bad.json", "binary.json", "none.json"):
        with pytest.raises(CommandError):
            call_command("import_config", str(tmp_path / name))
    with pytest.raises(CommandError, match="没有配置项"):
        call_command("export_config", "--only", "secrets", stdout=StringIO())
    document = {"format": config.FORMAT, "format_version": 1,
                "stages": [{"stage": "dance", "minutes": 1}]}  # fmt: skip
    user_with(Role.OPERATIONS_SUPERVISOR, username="keeper")
    with pytest.raises(CommandError, match="1 项"):
        call_command("import_config", as_file(tmp_path, document), "--yes", "--user", "keeper",
                     stdout=StringIO())  # fmt: skip


def test_no_secret_and_no_receiver_is_ever_in_the_document(seller: Seller) -> None:
    ShopFactory.create(code="other")
    text = json.dumps(config.collect(with_persons=True), ensure_ascii=False)
    for name in ("secret", "token", "sealed", "password", "receiver"):
        assert f'"{name}' not in text
    assert clock_now().isoformat()[:10] not in json.dumps(config.collect(sections=["stages"]))
