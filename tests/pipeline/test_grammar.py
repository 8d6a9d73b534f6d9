"""The command box's language: a table of sentences, and what must hold of any text."""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ordercenter.core.addresses.regions import PROVINCES, atlas
from ordercenter.core.clock import SHANGHAI
from ordercenter.pipeline.interception.commands import Choices, Command, Kind, NotUnderstood
from ordercenter.pipeline.interception.grammar import parse
from ordercenter.pipeline.interception.vocabulary import ShopWord, SkuWord, Vocabulary

NOW = datetime(2026, 11, 22, 15, 40, tzinfo=SHANGHAI)  # a Sunday
VOCABULARY = Vocabulary(
    shops=(
        ShopWord("DY01", "抖音家居旗舰店", "douyin"),
        ShopWord("TB01", "居家优选旗舰店", "taobao"),
        ShopWord("JD01", "江苏专营店", "jd"),
    ),
    skus=(
        SkuWord("JZ-1001", "北欧布艺沙发 三人位", "沙发"),
        SkuWord("JZ-1002", "真皮沙发", "沙发"),
        SkuWord("DJ-2001", "落地灯", "灯具"),
        SkuWord("DJ-2002", "羊毛毯", "毯子"),
        SkuWord("DJ-2003", "羊毛毯", "毯子"),
    ),
    carriers={"sf": "顺丰速运"},
)
JIANGSU, ZHEJIANG, SHANGHAI_CITY = ["江苏省", "", ""], ["浙江省", "", ""], ["上海市", "", ""]
SUZHOU = ["江苏省", "苏州市", ""]


def said(text: str) -> Any:
    return parse(text, VOCABULARY, NOW)


def stops(*places: list[str], **more: Any) -> dict[str, Any]:
    return {"kind": Kind.STOP, **({"places": [*places]} if places else {}), **more}


def lifts(*places: list[str], **more: Any) -> dict[str, Any]:
    return {**stops(*places, **more), "kind": Kind.LIFT}


def at(text: str) -> datetime:
    return datetime.strptime(f"2026-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=SHANGHAI)


WIDE = "".join(chr(ord(sign) + 0xFEE0) for sign in "SKUjz-1001") + "停发"
SENTENCES: dict[str, dict[str, Any]] = {
    # the sentences of the trade
    "江苏省暂停发货": stops(JIANGSU),
    "江苏、浙江停发 到明早8点 顺丰除外": stops(
        JIANGSU, ZHEJIANG, not_carriers=["sf"], until=at("11-23 08:00")
    ),
    "SKU JZ-1001 全部拦截": stops(skus=["JZ-1001"]),
    "抖音店暂停打单": stops(channels=["douyin"]),
    "解除江苏": lifts(JIANGSU),
    "苏州市工业园区 停发 3小时": stops(
        ["江苏省", "苏州市", "苏州工业园区"], until=at("11-22 18:40")
    ),
    "全部停发": stops(all=True),
    "江苏除苏州外暂停发货": stops(JIANGSU, not_places=[SUZHOU]),
    # how people write: no blanks, wide signs, traditional signs, small letters, please
    "江苏停发": stops(JIANGSU),
    "江苏 停发": stops(JIANGSU),
    "江苏省　暂停发货！": stops(JIANGSU),
    "江蘇省暫停發貨": stops(JIANGSU),
    "SKUJZ-1001全部拦截": stops(skus=["JZ-1001"]),
    WIDE: stops(skus=["JZ-1001"]),
    "jz-1001别发了": stops(skus=["JZ-1001"]),
    "请把发往江苏的订单先停一下": stops(JIANGSU),
    "江苏省内的JZ-1001别发了": stops(JIANGSU, skus=["JZ-1001"]),
    "江苏不发货了": stops(JIANGSU),
    "江苏的单子先不发": stops(JIANGSU),
    "江苏全省锁单": stops(JIANGSU),
    "拦截发往江苏的包裹": stops(JIANGSU),
    "立即停止江苏发货": stops(JIANGSU),
    # places
    "吉林省停发": stops(["吉林省", "", ""]),
    "吉林省吉林市停发": stops(["吉林省", "吉林市", ""]),
    "海南停发": stops(["海南省", "", ""]),
    "内蒙古停发": stops(["内蒙古自治区", "", ""]),
    "广西停发": stops(["广西壮族自治区", "", ""]),
    "上海停发": stops(SHANGHAI_CITY),
    "上海市浦东新区停发": stops(["上海市", "上海市", "浦东新区"]),
    "北京朝阳停发": stops(["北京市", "北京市", "朝阳区"]),
    "湖北 武汉 停发": stops(["湖北省", "武汉市", ""]),
    "昆山停发": stops(["江苏省", "苏州市", "昆山市"]),
    "昆山和太仓停发": stops(["江苏省", "苏州市", "昆山市"], ["江苏省", "苏州市", "太仓市"]),
    "仙桃停发": stops(["湖北省", "", "仙桃市"]),
    "长沙县停发": stops(["湖南省", "长沙市", "长沙县"]),
    "和田停发": stops(["新疆维吾尔自治区", "和田地区", ""]),
    "江苏和浙江停发": stops(JIANGSU, ZHEJIANG),
    "江苏，浙江，上海 停发": stops(JIANGSU, ZHEJIANG, SHANGHAI_CITY),
    "江浙沪停发": stops(JIANGSU, ZHEJIANG, SHANGHAI_CITY),
    "苏浙沪停发": stops(JIANGSU, ZHEJIANG, SHANGHAI_CITY),
    "川渝停发": stops(["四川省", "", ""], ["重庆市", "", ""]),
    "新疆西藏停发": stops(["新疆维吾尔自治区", "", ""], ["西藏自治区", "", ""]),
    "东三省停发": stops(["辽宁省", "", ""], ["吉林省", "", ""], ["黑龙江省", "", ""]),
    # shops, platforms, goods
    "DY01停发": stops(shops=["DY01"]),
    "店铺 DY01 停发": stops(shops=["DY01"]),
    "抖音家居旗舰店暂停发货": stops(shops=["DY01"]),
    "江苏专营店停发": stops(shops=["JD01"]),
    "江苏专营店、江苏停发": stops(JIANGSU, shops=["JD01"]),
    "淘宝停发": stops(channels=["taobao"]),
    "天猫店停发": stops(channels=["taobao"]),
    "京东店停发": stops(channels=["jd"]),
    "京东、拼多多停发": stops(channels=["jd", "pinduoduo"]),
    "抖音 江苏 停发": stops(JIANGSU, channels=["douyin"]),
    "JZ-1001、DJ-2001 停发": stops(skus=["JZ-1001", "DJ-2001"]),
    "真皮沙发停发": stops(skus=["JZ-1002"]),
    "灯具停发": stops(skus=["DJ-2001"]),
    "类目 沙发 停发": stops(skus=["JZ-1001", "JZ-1002"]),
    "江苏的沙发停发": stops(JIANGSU, skus=["JZ-1001", "JZ-1002"]),
    # what is left out
    "江苏停发 顺丰除外": stops(JIANGSU, not_carriers=["sf"]),
    "江苏停发，顺丰、京东物流除外": stops(JIANGSU, not_carriers=["sf", "jdl"]),
    "京东快递除外 江苏停发": stops(JIANGSU, not_carriers=["jdl"]),
    "除顺丰外江苏停发": stops(JIANGSU, not_carriers=["sf"]),
    "江苏停发，苏州照发": stops(JIANGSU, not_places=[SUZHOU]),
    "北京停发 朝阳除外": stops(["北京市", "", ""], not_places=[["北京市", "北京市", "朝阳区"]]),
    "江苏停发 JZ-1001除外": stops(JIANGSU, not_skus=["JZ-1001"]),
    "江苏停发，不包括抖音": stops(JIANGSU, not_channels=["douyin"]),
    "全国停发 江苏除外": stops(all=True, not_places=[JIANGSU]),
    "除新疆西藏外全部停发": stops(
        all=True, not_places=[["新疆维吾尔自治区", "", ""], ["西藏自治区", "", ""]]
    ),
    "全部订单停发 DY01不停": stops(all=True, not_shops=["DY01"]),
    # until when
    "江苏停发到明早8点": stops(JIANGSU, until=at("11-23 08:00")),
    "江苏停发，明早8点恢复": stops(JIANGSU, until=at("11-23 08:00")),
    "江苏停发到今晚": stops(JIANGSU, until=at("11-23 00:00")),
    "江苏今天停发": stops(JIANGSU, until=at("11-23 00:00")),
    "江苏停发到后天中午": stops(JIANGSU, until=at("11-24 12:00")),
    "江苏停发到3小时后": stops(JIANGSU, until=at("11-22 18:40")),
    "江苏停发3小时后恢复": stops(JIANGSU, until=at("11-22 18:40")),
    "江苏停发半小时": stops(JIANGSU, until=at("11-22 16:10")),
    "江苏停发一个半小时": stops(JIANGSU, until=at("11-22 17:10")),
    "江苏停发两天": stops(JIANGSU, until=at("11-24 15:40")),
    "江苏停发到11月25日18点": stops(JIANGSU, until=at("11-25 18:00")),
    "江苏停发到25号18:30": stops(JIANGSU, until=at("11-25 18:30")),
    "江苏停发到十一月二十五日十八点": stops(JIANGSU, until=at("11-25 18:00")),
    "江苏停发至2026-11-26 09:15": stops(JIANGSU, until=at("11-26 09:15")),
    "江苏停发到下周三上午9点": stops(JIANGSU, until=at("11-25 09:00")),
    "江苏停发到晚8点半": stops(JIANGSU, until=at("11-22 20:30")),
    "江苏停发到今晚2点": stops(JIANGSU, until=at("11-23 02:00")),
    "江苏停发到20点": stops(JIANGSU, until=at("11-22 20:00")),
    "江苏 8点到18点停发": stops(JIANGSU, until=at("11-22 18:00")),
    # from when
    "明天0点起江苏停发 到后天8点": stops(
        JIANGSU, since=at("11-23 00:00"), until=at("11-24 08:00")
    ),
    "从明天0点到后天8点江苏停发": stops(JIANGSU, since=at("11-23 00:00"), until=at("11-24 08:00")),
    "江苏停发 今晚8点到明早8点": stops(JIANGSU, since=at("11-22 20:00"), until=at("11-23 08:00")),
    "明天起江苏停发": stops(JIANGSU, since=at("11-23 00:00")),
    "江苏明天开始停发": stops(JIANGSU, since=at("11-23 00:00")),
    "从明早8点江苏停发": stops(JIANGSU, since=at("11-23 08:00")),
    "江苏3小时后停发": stops(JIANGSU, since=at("11-22 18:40")),
    "明天0点起江苏停发3天": stops(JIANGSU, since=at("11-23 00:00"), until=at("11-26 00:00")),
    "11月25日18点起江苏停发 到26日18点": stops(
        JIANGSU, since=at("11-25 18:00"), until=at("11-26 18:00")
    ),
    "今天起江苏停发": stops(JIANGSU),
    "从今天起江苏停发 到明早8点": stops(JIANGSU, until=at("11-23 08:00")),
    # by whom it is carried
    "顺丰停发": stops(carriers=["sf"]),
    "仅京东快递停发": stops(carriers=["jdl"]),
    "江苏顺丰停发": stops(JIANGSU, carriers=["sf"]),
    "江苏停发，只停顺丰": stops(JIANGSU, carriers=["sf"]),
    # why
    "台风 浙江温州 台州暂停发货 到后天中午": stops(
        ["浙江省", "温州市", ""], ["浙江省", "台州市", ""], until=at("11-24 12:00"), why="台风"
    ),
    "因为暴雨江苏停发": stops(JIANGSU, why="暴雨"),
    # lifting and looking
    "恢复江苏发货": lifts(JIANGSU),
    "江苏恢复发货": lifts(JIANGSU),
    "取消拦截浙江": lifts(ZHEJIANG),
    "解除江苏的停发": lifts(JIANGSU),
    "江苏停发解除": lifts(JIANGSU),
    "解除全部": lifts(all=True),
    "解除 #12": lifts(number=12),
    "查江苏未发货订单": {**stops(JIANGSU), "kind": Kind.FIND},
    "江苏有多少单": {**stops(JIANGSU), "kind": Kind.FIND},
}  # fmt: skip


def test_the_table_is_long_enough() -> None:
    assert len(SENTENCES) >= 80


@pytest.mark.parametrize("text", SENTENCES)
def test_a_sentence_of_the_trade_is_understood(text: str) -> None:
    found = said(text)
    assert isinstance(found, Command), found
    told = {key: value for key, value in found.condition.items() if value}
    extra = {
        "since": found.begins_at,
        "until": found.ends_at,
        "why": found.reason,
        "number": found.number,
    }
    told |= {key: value for key, value in extra.items() if value}
    assert {"kind": found.kind, **told} == SENTENCES[text]


QUESTIONS: dict[str, list[str]] = {
    "吉林停发": ["吉林省", "吉林省吉林市"],
    "朝阳停发": ["北京市朝阳区", "辽宁省朝阳市", "辽宁省朝阳市朝阳县", "吉林省长春市朝阳区"],
    "朝阳区停发": ["北京市朝阳区", "吉林省长春市朝阳区"],
    "羊毛毯停发": ["货品 DJ-2002 羊毛毯", "货品 DJ-2003 羊毛毯"],
    "旗舰店停发": ["店铺 抖音家居旗舰店", "店铺 居家优选旗舰店"],
    "布艺停发": ["货品 JZ-1001 北欧布艺沙发 三人位"],
    "JZ-1O01停发": ["货品 JZ-1001 北欧布艺沙发 三人位", "货品 JZ-1002 真皮沙发"],
    "浙讲省停发": ["地区 浙江省"],
    "江苏停发到8点": ["到 11月22日 20:00", "到 11月23日 08:00"],
    "江苏停发到明天": ["到 11月22日 24:00", "到 11月23日 24:00"],
    "明早8点江苏停发": [
        "现在开始，到 11月23日 08:00",
        "从 11月23日 08:00 开始",
        "现在开始，不设到期",
    ],
    "8点起江苏停发": ["从 11月22日 20:00 开始", "从 11月23日 08:00 开始"],
    "江苏停发 明天0点到8点": ["到 11月23日 08:00", "到 11月23日 20:00"],
    "江苏": ["暂停发货", "解除拦截", "查订单"],
}


@pytest.mark.parametrize("text", QUESTIONS)
def test_what_may_mean_several_things_is_asked_about(text: str) -> None:
    found = said(text)
    assert isinstance(found, Choices), found
    assert [option.label for option in found.options] == QUESTIONS[text]


@pytest.mark.parametrize("text", QUESTIONS)
def test_every_answer_to_a_question_is_a_command_or_leads_to_one(text: str) -> None:
    for option in said(text).options:
        found = said(option.text)
        for _ in range(3):
            if isinstance(found, Choices):
                found = said(found.options[0].text)
        assert isinstance(found, Command), (option, found)


def test_the_answer_chosen_is_what_is_stopped() -> None:
    province, city = said("吉林停发").options
    assert said(province.text).condition["places"] == [["吉林省", "", ""]]
    assert said(city.text).condition["places"] == [["吉林省", "吉林市", ""]]


@pytest.mark.parametrize(
    ("text", "understood", "rest"),
    [
        ("停发", ["暂停发货"], ()),
        ("雄安新区停发", ["暂停发货"], ("雄安新区",)),
        ("江苏停发到昨天", ["暂停发货", "江苏省"], ("到昨天",)),
        ("江苏停发到2月30日", ["暂停发货", "江苏省"], ("到2月30日",)),
        ("江苏停发到今天8点", ["暂停发货", "江苏省"], ("到今天8点",)),
        ("南京东路停发", ["暂停发货", "京东"], ("南", "路")),
        ("ZZZZ-999999停发", ["暂停发货"], ("ZZZZ-999999",)),
        ("江苏停发 明晚起", ["暂停发货", "江苏省"], ("明晚起",)),
        ("明天0点起解除江苏", ["解除拦截", "江苏省", "从 11月23日 00:00 开始"], ("明天0点起",)),
        (
            "后天起江苏停发到明早8点",
            ["暂停发货", "江苏省", "从 11月24日 00:00 开始", "到 11月23日 08:00"],
            ("到明早8点",),
        ),
        (
            "明天0点起江苏停发 后天0点起",
            ["暂停发货", "江苏省", "从 11月23日 00:00 开始", "从 11月24日 00:00 开始"],
            ("后天0点起",),
        ),
        ("江苏停发 浙江恢复", ["江苏省", "浙江省"], ()),
        ("停发 #12", ["暂停发货", "#12"], ("#12",)),
        ("#12", ["#12"], ("#12",)),
        ("解除", ["解除拦截"], ()),
        ("江苏停发 江苏除外", ["暂停发货", "江苏省", "江苏省 除外"], ("江苏省",)),
        ("1=1; drop table orders", [], ("1=1", "drop", "table", "orders")),
        ("", [], ()),
    ],
)
def test_what_is_not_understood_says_how_far_it_was(
    text: str, understood: list[str], rest: tuple[str, ...]
) -> None:
    found = said(text)
    assert isinstance(found, NotUnderstood), found
    assert [chip.words for chip in found.understood] == understood
    assert found.rest == rest
    assert found.hints


def test_words_say_the_whole_condition() -> None:
    found = said("江苏、浙江 抖音 停发 JZ-1001、顺丰除外 到明早8点")
    assert (
        found.words == "江苏省、浙江省 且 抖音小店暂停发货，JZ-1001 北欧布艺沙发 三人位、顺丰除外"
    )


def test_words_never_outgrow_their_place() -> None:
    skus = tuple(SkuWord(f"LONG-{n:03}", f"{n}" + "长" * 118, "床品") for n in range(60))
    found = parse("类目 床品 停发，LONG-000、江苏、浙江除外", Vocabulary(skus=skus), NOW)
    assert isinstance(found, Command)
    assert found.condition["not_skus"] == ["LONG-000"]
    found = parse("类目 床品 停发，江苏、浙江除外", Vocabulary(skus=skus), NOW)
    assert isinstance(found, Command)
    assert len(found.condition["skus"]) == 60
    assert len(found.words) <= 480
    assert "等 60 种货品" in found.words


PIECES = st.sampled_from([
    "江苏", "浙江省", "吉林", "朝阳", "和", "、", "除", "除外", "外", "全部", "停发", "暂停发货",
    "解除", "恢复", "查", "抖音", "顺丰", "JZ-1001", "SKU", "类目", "沙发", "到", "明早", "8点",
    "从", "起", "开始", "明天0点", "后天", "3小时",
    "后", "前", "今晚", "11月25日", "25号", "#", "12", "的", "因为", "台风", "店", "DY01", "旗舰店",
    "羊毛毯", "？", " ", "<b>", "'", ";", "%", "\\", "龘",
])  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=60))
def test_any_text_is_answered_and_always_the_same(text: str) -> None:
    found = said(text)
    assert found == said(text)
    if isinstance(found, Command):
        assert found.kind in Kind
        assert found.ends_at is None or found.ends_at > NOW
        if found.kind is Kind.STOP:
            says = {key for key, value in found.condition.items() if value}
            assert says & {"places", "skus", "shops", "channels", "carriers", "all"}
            assert found.begins_at is None or found.begins_at > NOW
            if found.begins_at and found.ends_at:
                assert found.begins_at < found.ends_at
            assert 0 < len(found.words) <= 500
    elif isinstance(found, Choices):
        assert found.options
        assert len({option.text for option in found.options}) == len(found.options)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PROVINCES), min_size=1, max_size=4, unique=True),
       st.sampled_from(["、", "，", " ", "和", "及", ""]),
       st.sampled_from(["停发", "暂停发货", "暂停打单", "全部拦截", "先别发"]))  # fmt: skip
def test_any_provinces_however_joined_are_all_stopped(
    names: list[str], glue: str, verb: str
) -> None:
    found = said(glue.join(names) + verb)
    assert isinstance(found, Command), found
    assert found.condition["places"] == [[name, "", ""] for name in names]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(atlas().divisions)))
def test_every_division_by_its_full_name_is_itself(code: str) -> None:
    known = atlas()
    region = known.region(known.divisions[code])
    found = said(f"{region.full_name} 停发")
    assert isinstance(found, Command), found
    (place,) = found.condition["places"]
    names = [*region.names]
    assert place == ([names[0], "", ""] if names[0] == names[1] and not names[2] else names)
