"""What a shop's unknown code may stand for, and what it never does."""

import time
from typing import Any

import pytest

from ordercenter.catalog.matching import Known, Matcher, Target, Wanted, fold
from ordercenter.catalog.models import Sku
from ordercenter.catalog.traits import contradict, traits_of
from tests.factories import (
    BundleFactory,
    BundlePartFactory,
    ListingFactory,
    ShopFactory,
    SkuFactory,
)


def target(pk: int, code: str, name: str, kind: str = "sku") -> Target:
    return Target(kind, pk, code, name)


SOFA_RED = target(1, "SOFA-01", "棉麻沙发靠垫 45x45 红色")
SOFA_BLUE = target(2, "SOFA-02", "棉麻沙发靠垫 45x45 雾霾蓝")
QUILT = target(3, "JZ-1004", "天丝夏被 200×230 浅灰")
QUILT_SMALL = target(4, "JZ-1014", "天丝夏被 150×200 浅灰")
SET = target(9, "TZ-01", "新居床品套装", "bundle")
ALL = (SOFA_RED, SOFA_BLUE, QUILT, QUILT_SMALL, SET)


def matcher(*known: Known, barcodes: dict[int, str] | None = None) -> Matcher:
    return Matcher([(one, (barcodes or {}).get(one.id, "")) for one in ALL], known)


def best(found: Matcher, outer: str = "", title: str = "", sku_id: str = "") -> str:
    proposals = found.propose(Wanted(7, sku_id, outer, title))
    return proposals[0].target.code if proposals else ""


@pytest.mark.parametrize(
    "told",
    [
        "SOFA-01",
        "sofa-01",
        " SOFA 01 ",
        "\uff33\uff2f\uff26\uff21\uff0d\uff10\uff11",
        "SOFA—01",
        "sofa_01",
        "SOFA01",
    ],
)
def test_case_width_blanks_and_dashes_do_not_hide_a_code(told: str) -> None:
    assert best(matcher(), told) == "SOFA-01"


@pytest.mark.parametrize(
    "told",
    [
        "S\u041eFA-01",  # a Cyrillic letter
        "\u0405OFA-01",  # another
        "SOFA-0l",  # the letter l
        "SOFA-\u0661",  # an Arabic-Indic digit
        "SOFA\u200b-01",
        "SOFA-001",
        "SOFA-0-1",
    ],
)
def test_a_look_alike_is_another_code(told: str) -> None:
    assert best(matcher(), told) == ""


def test_a_dash_between_figures_is_part_of_the_code() -> None:
    assert fold("1-12") != fold("11-2")
    assert fold("SOFA-1") == fold("sofa1")


def test_what_another_shop_calls_so_goes_first_and_says_where_it_comes_from() -> None:
    known = Known(8, "抖音店", "outer_code", "A-77", "", "sku:2")
    (proposal,) = matcher(known).propose(Wanted(7, "", "A-77"))
    assert (proposal.target, proposal.score) == (SOFA_BLUE, 100)
    assert "抖音店" in proposal.reason


def test_two_shops_that_disagree_make_nothing_sure() -> None:
    known = (Known(8, "抖音店", "outer_code", "A-77", "", "sku:1"),
             Known(9, "京东店", "outer_code", "A-77", "", "sku:2"))  # fmt: skip
    proposals = matcher(*known).propose(Wanted(7, "", "A-77"))
    assert {p.target.code for p in proposals} == {"SOFA-01", "SOFA-02"}
    assert not any(p.is_sure for p in proposals)


def test_a_barcode_is_taken_letter_for_letter() -> None:
    found = matcher(barcodes={3: "2000000010045"})
    assert best(found, "2000000010045") == "JZ-1004"
    assert best(found, "2000000010046") == ""


def test_an_own_platform_may_use_our_codes_as_its_sku_ids() -> None:
    assert best(matcher(), sku_id="JZ-1004") == "JZ-1004"


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("北欧风棉麻沙发靠垫套 抱枕 45*45 雾霾蓝 包邮", "SOFA-02"),
        ("北欧风棉麻沙发靠垫套 抱枕 45*45 大红 包邮", "SOFA-01"),
        ("棉麻沙发靠垫 45x45 墨绿", ""),
        ("天丝夏被 凉感 200*230 浅灰", "JZ-1004"),
        ("天丝夏被 凉感 150\uff0a200 浅灰", "JZ-1014"),
        ("天丝夏被 凉感 220x240 浅灰", ""),
        ("天丝夏被 凉感 200x230 深灰", ""),
        ("新居床品套装 乔迁礼", "TZ-01"),
        ("不锈钢保温杯 500ml", ""),
        ("", ""),
    ],
)
def test_a_title_finds_its_goods_and_neither_colour_nor_size_may_contradict(
    title: str, expected: str
) -> None:
    assert best(matcher(), title=title) == expected


def test_a_title_that_names_no_colour_shows_every_colour_and_none_is_sure() -> None:
    proposals = matcher().propose(Wanted(7, "1", "", "棉麻沙发靠垫 45x45"))
    assert {p.target.code for p in proposals} == {"SOFA-01", "SOFA-02"}
    assert not any(p.is_sure for p in proposals)


def test_a_code_that_fits_and_a_title_that_contradicts_make_no_proposal() -> None:
    wanted = Wanted(7, "", "SOFA-01", "棉麻沙发靠垫 45x45 雾霾蓝")
    assert "SOFA-01" not in {p.target.code for p in matcher().propose(wanted)}
    assert matcher().exact(wanted) is None


def test_only_the_very_same_letters_are_exact() -> None:
    assert matcher().exact(Wanted(7, "", "SOFA-01")) == SOFA_RED
    for told in ("sofa-01", "SOFA01", "S\u041eFA-01", ""):
        assert matcher().exact(Wanted(7, "", told)) is None
    disputed = Known(8, "抖音店", "outer_code", "SOFA-01", "", "sku:2")
    assert matcher(disputed).exact(Wanted(7, "", "SOFA-01")) is None
    agreed = Known(8, "抖音店", "outer_code", "SOFA-01", "", "sku:1")
    assert matcher(agreed).exact(Wanted(7, "", "SOFA-01")) == SOFA_RED


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("红色", "蓝色", True),
        ("米白", "白色", False),
        ("1.8米床", "米色", False),
        ("1.8米床", "1.5m床", True),
        ("XXL", "2XL", False),
        ("XL 码", "L", True),
        ("四件套", "4件套", False),
        ("四件套", "三件套", True),
        ("500ml", "500ML 装", False),
        ("2只装", "3只装", True),
        ("红蓝两色可选", "蓝", False),
        ("靠垫", "红色靠垫", False),
    ],
)
def test_what_contradicts(one: str, other: str, *, expected: bool) -> None:
    assert contradict(traits_of(one), traits_of(other)) is expected


@pytest.mark.django_db
def test_the_catalog_is_read_and_what_is_switched_off_is_not_proposed() -> None:
    shop, other = ShopFactory.create(), ShopFactory.create(name="京东店")
    sku = SkuFactory.create(code="A-11", name="陶瓷花瓶", color_name="白", barcode="690001")
    SkuFactory.create(code="A-2", name="陶瓷花瓶", is_active=False)
    bundle = BundleFactory.create(code="SET-1")
    BundlePartFactory.create(bundle=bundle, sku=sku)
    BundleFactory.create(code="SET-2")
    ListingFactory.create(shop=other, code_type="outer_code", code="\uff56\uff0d99", sku=sku)
    codes = ("a11", "A-2", "690001", "set 1", "SET-2", "V99")
    wanted = [Wanted(shop.pk, "", code) for code in codes]
    found = Matcher.for_codes(wanted)
    proposed = [best(found, one.outer_code) for one in wanted]
    assert proposed == ["A-11", "", "A-11", "SET-1", "", "A-11"]


@pytest.mark.django_db
def test_2300_goods_and_a_page_of_codes_take_a_moment(django_assert_num_queries: Any) -> None:
    names = ("全棉四件套", "天丝夏被", "乳胶护颈枕", "羊毛地毯", "陶瓷花瓶", "不锈钢保温杯")
    colors = ("雾霾蓝", "米白", "豆沙粉", "浅灰", "薄荷绿", "酒红")
    Sku.objects.bulk_create(
        Sku(code=f"K{n:05}", name=f"{names[n % 6]} {n} 型 {colors[n // 6 % 6]}", base_price=1)
        for n in range(2300)
    )
    wanted = [Wanted(1, str(n), f"k {n:05}", f"{names[n % 6]} {n} 型 包邮") for n in range(50)]
    with django_assert_num_queries(3):
        began = time.perf_counter()
        found = Matcher.for_codes(wanted)
        proposals = [found.propose(one) for one in wanted]
    assert all(row and row[0].target.code == f"K{n:05}" for n, row in enumerate(proposals))
    assert time.perf_counter() - began < 1.0
