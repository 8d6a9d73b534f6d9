"""Chinese addresses: what platforms send in three fields and people type in one line."""

import json
import time
from io import StringIO

import pytest
from django.core.management import call_command
from hypothesis import given, settings
from hypothesis import strategies as st

from ordercenter.core.addresses import (
    MAX_LENGTH,
    PROVINCES,
    ParsedAddress,
    ProblemCode,
    Region,
    address_key,
    normalize_region,
    parse_address,
    province_of,
)
from ordercenter.core.addresses.regions import DATA, atlas

SHORT = {
    "北京": "北京市",
    "天津": "天津市",
    "河北": "河北省",
    "山西": "山西省",
    "内蒙古": "内蒙古自治区",
    "辽宁": "辽宁省",
    "吉林": "吉林省",
    "黑龙江": "黑龙江省",
    "上海": "上海市",
    "江苏": "江苏省",
    "浙江": "浙江省",
    "安徽": "安徽省",
    "福建": "福建省",
    "江西": "江西省",
    "山东": "山东省",
    "河南": "河南省",
    "湖北": "湖北省",
    "湖南": "湖南省",
    "广东": "广东省",
    "广西": "广西壮族自治区",
    "海南": "海南省",
    "重庆": "重庆市",
    "四川": "四川省",
    "贵州": "贵州省",
    "云南": "云南省",
    "西藏": "西藏自治区",
    "陕西": "陕西省",
    "甘肃": "甘肃省",
    "青海": "青海省",
    "宁夏": "宁夏回族自治区",
    "新疆": "新疆维吾尔自治区",
    "台湾": "台湾省",
    "香港": "香港特别行政区",
    "澳门": "澳门特别行政区",
}
ONE_CHARACTER = "京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新台港澳"

FIELDS = [
    (("浙江", "杭州", "西湖"), ("浙江省", "杭州市", "西湖区")),
    (("浙江省", "杭州市", "西湖区"), ("浙江省", "杭州市", "西湖区")),
    (("北京", "北京市", "朝阳区"), ("北京市", "北京市", "朝阳区")),
    (("北京市", "市辖区", "东城区"), ("北京市", "北京市", "东城区")),
    (("北京", "朝阳区", "三环到四环之间"), ("北京市", "北京市", "朝阳区")),
    (("上海", "", ""), ("上海市", "上海市", "")),
    (("重庆", "县", "云阳县"), ("重庆市", "重庆市", "云阳县")),
    (("重庆市", "云阳县", ""), ("重庆市", "重庆市", "云阳县")),
    (("吉林", "吉林", ""), ("吉林省", "吉林市", "")),
    (("吉林", "吉林", "船营区"), ("吉林省", "吉林市", "船营区")),
    (("湖北", "仙桃市", "胡场镇"), ("湖北省", "", "仙桃市")),
    (("湖北省", "省直辖县级行政区划", "仙桃市"), ("湖北省", "", "仙桃市")),
    (("新疆", "自治区直辖县级行政区划", "石河子市"), ("新疆维吾尔自治区", "", "石河子市")),
    (("海南", "文昌市", "文昌市"), ("海南省", "", "文昌市")),
    (("河南", "济源", ""), ("河南省", "", "济源市")),
    (("四川", "凉山州", "西昌"), ("四川省", "凉山彝族自治州", "西昌市")),
    (("新疆", "巴州", "库尔勒市"), ("新疆维吾尔自治区", "巴音郭楞蒙古自治州", "库尔勒市")),
    (("青海", "海南州", "共和县"), ("青海省", "海南藏族自治州", "共和县")),
    (("内蒙", "兴安盟", "乌兰浩特"), ("内蒙古自治区", "兴安盟", "乌兰浩特市")),
    (("湖南", "长沙", "长沙县"), ("湖南省", "长沙市", "长沙县")),
    (("辽宁", "朝阳", "朝阳县"), ("辽宁省", "朝阳市", "朝阳县")),
    (("浙江", "杭州", "下城区"), ("浙江省", "杭州市", "拱墅区")),
    (("山东", "莱芜市", "莱城区"), ("山东省", "济南市", "莱芜区")),
    (("山东", "莱芜", "钢城区"), ("山东省", "济南市", "钢城区")),
    (("吉林", "四平市", "公主岭市"), ("吉林省", "长春市", "公主岭市")),
    (("广西", "南宁", "武鸣县"), ("广西壮族自治区", "南宁市", "武鸣区")),
    (("江苏", "南通", "港闸区"), ("江苏省", "南通市", "崇川区")),
    (("西藏", "那曲地区", "那曲县"), ("西藏自治区", "那曲市", "色尼区")),
    (("广东", "东莞", "长安镇"), ("广东省", "东莞市", "长安镇")),
    (("广东", "中山市", "东区"), ("广东省", "中山市", "东区街道")),
    (("江苏", "苏州", "工业园区"), ("江苏省", "苏州市", "苏州工业园区")),
    (("安徽", "合肥", "经开区"), ("安徽省", "合肥市", "合肥经济技术开发区")),
    (("臺灣", "臺北市", "信義區"), ("台湾省", "台北市", "信义区")),
    (("香港", "香港特别行政区", "油尖旺区"), ("香港特别行政区", "九龙", "油尖旺区")),
    (("中国香港", "九龙", "观塘区"), ("香港特别行政区", "九龙", "观塘区")),
    (("青海", "海南", "共和县"), ("青海省", "海南藏族自治州", "共和县")),
    (("Inner Mongolia", "包头市", ""), ("内蒙古自治区", "包头市", "")),
    (("guangdong", "Guangzhou", ""), ("广东省", "", "")),
    (("　浙江省 ", "杭州市\u200b", "西湖区"), ("浙江省", "杭州市", "西湖区")),
]

# Text, province, city, district, town, detail; nothing is wrong with any of them.
CLEAR = """
江苏南京鼓楼区中山路1号鼓楼医院|江苏省|南京市|鼓楼区||中山路1号鼓楼医院
福州市鼓楼区五四路111号|福建省|福州市|鼓楼区||五四路111号
徐州鼓楼区琵琶街道中山北路3号|江苏省|徐州市|鼓楼区|琵琶街道|中山北路3号
北京市朝阳区建国路88号|北京市|北京市|朝阳区||建国路88号
北京朝阳建国路88号|北京市|北京市|朝阳区||建国路88号
辽宁省朝阳市双塔区文化路|辽宁省|朝阳市|双塔区||文化路
辽宁朝阳县柳城街道新华街2号|辽宁省|朝阳市|朝阳县|柳城街道|新华街2号
吉林省吉林市船营区北京路1号|吉林省|吉林市|船营区||北京路1号
吉林吉林市昌邑区中兴街|吉林省|吉林市|昌邑区||中兴街
长春市朝阳区前进大街2699号|吉林省|长春市|朝阳区||前进大街2699号
新疆乌鲁木齐新市区北京南路40号|新疆维吾尔自治区|乌鲁木齐市|新市区||北京南路40号
内蒙古呼和浩特赛罕区大学东路|内蒙古自治区|呼和浩特市|赛罕区||大学东路
内蒙呼市回民区新华西街|内蒙古自治区|呼和浩特市|回民区||新华西街
上海浦东新区世纪大道100号|上海市|上海市|浦东新区||世纪大道100号
上海市上海市黄浦区南京东路300号|上海市|上海市|黄浦区||南京东路300号
上海市市辖区黄浦区南京东路300号|上海市|上海市|黄浦区||南京东路300号
重庆市云阳县青龙街道民德路|重庆市|重庆市|云阳县|青龙街道|民德路
重庆市县云阳县云江大道|重庆市|重庆市|云阳县||云江大道
东莞市长安镇锦厦路5号|广东省|东莞市||长安镇|锦厦路5号
中山小榄镇升平中路|广东省|中山市||小榄镇|升平中路
大连中山区中山路88号|辽宁省|大连市|中山区||中山路88号
海南省文昌市文城镇文建路|海南省||文昌市|文城镇|文建路
海南海口龙华区国贸路|海南省|海口市|龙华区||国贸路
海南州共和县环城东路|青海省|海南藏族自治州|共和县||环城东路
湖北仙桃市胡场镇建设路|湖北省||仙桃市|胡场镇|建设路
湖北省省直辖县级行政区划仙桃市沔阳大道|湖北省||仙桃市||沔阳大道
苏州市工业园区星湖街328号|江苏省|苏州市|苏州工业园区||星湖街328号
苏州道前街10号|江苏省|苏州市|||道前街10号
河北省保定市雄安新区容城县金台东路|河北省|保定市|容城县||金台东路
西藏那曲市色尼区浙江中路|西藏自治区|那曲市|色尼区||浙江中路
济南市莱芜区汶河大道|山东省|济南市|莱芜区||汶河大道
济南市中区经四路1号|山东省|济南市|市中区||经四路1号
成都市高新区天府大道|四川省|成都市|高新区||天府大道
成都武侯祠大街231号|四川省|成都市|||武侯祠大街231号
广东广州天河城|广东省|广州市|||天河城
杭州西湖文三路2号|浙江省|杭州市|西湖区||文三路2号
杭州西湖国际科技大厦|浙江省|杭州市|||西湖国际科技大厦
杭州富阳市场路6号|浙江省|杭州市|||富阳市场路6号
江苏省昆山市前进中路|江苏省|苏州市|昆山市||前进中路
昆山玉山镇前进路|江苏省|苏州市|昆山市|玉山镇|前进路
浙江义乌稠州北路|浙江省|金华市|义乌市||稠州北路
浙江江山市中山路|浙江省|衢州市|江山市||中山路
桐乡市乌镇子夜路1号|浙江省|嘉兴市|桐乡市|乌镇|子夜路1号
杭州市余杭区仓前街道梦想小镇|浙江省|杭州市|余杭区|仓前街道|梦想小镇
黑龙江大兴安岭加格达奇区人民路|黑龙江省|大兴安岭地区|加格达奇区||人民路
北京海淀区中关村南大街5号吉林大厦|北京市|北京市|海淀区||中关村南大街5号吉林大厦
北京门头沟新桥大街|北京市|北京市|门头沟区||新桥大街
北京市海淀区北京市第五中学|北京市|北京市|海淀区||北京市第五中学
西安雁塔路1号|陕西省|西安市|||雁塔路1号
长沙县星沙街道开元路|湖南省|长沙市|长沙县|星沙街道|开元路
长沙市区五一大道1号|湖南省|长沙市|||五一大道1号
和县历阳镇陋室西街|安徽省|马鞍山市|和县|历阳镇|陋室西街
湖南湘西凤凰县沱江镇虹桥路|湖南省|湘西土家族苗族自治州|凤凰县|沱江镇|虹桥路
新疆喀什喀什市人民东路|新疆维吾尔自治区|喀什地区|喀什市||人民东路
新疆石河子市北三路|新疆维吾尔自治区||石河子市||北三路
武汉东湖高新区光谷大道77号|湖北省|武汉市|||东湖高新区光谷大道77号
香港九龙城区太子道西|香港特别行政区|九龙|九龙城区||太子道西
香港中环皇后大道中1号|香港特别行政区||||中环皇后大道中1号
台湾省台北市信义区市府路45号|台湾省|台北市|信义区||市府路45号
臺北市信義區市府路45號|台湾省|台北市|信义区||市府路45號
中国台湾新北市板桥区县民大道|台湾省|新北市|板桥区||县民大道
中国浙江省杭州市余杭区五常街道文一西路969号|浙江省|杭州市|余杭区|五常街道|文一西路969号
浙江省，杭州市，西湖区，古荡街道，文三路1号|浙江省|杭州市|西湖区|古荡街道|文三路1号
浙江省杭州市西湖区浙江省杭州市西湖区文三路1号|浙江省|杭州市|西湖区||文三路1号
邮编：310012 浙江省杭州市 (310012) 西湖区文三路1号(近古荡)|浙江省|杭州市|西湖区||文三路1号(近古荡)
我家住在浙江省杭州市西湖区文三路|浙江省|杭州市|西湖区||文三路 我家住在
新城国际8栋 浙江省杭州市西湖区|浙江省|杭州市|西湖区||新城国际8栋
"""
CLEAR_ROWS = [line.split("|") for line in CLEAR.strip().splitlines()]

FORMER = [
    ("杭州市下城区文晖路1号", "拱墅区", ("下城区",)),
    ("四川省成都市双流县东升街道1号", "双流区", ("双流县",)),
    ("南通市港闸区永兴路", "崇川区", ("港闸区",)),
    ("天津塘沽区解放路", "滨海新区", ("塘沽区",)),
    ("莱芜市钢城区钢都大街", "钢城区", ("莱芜市",)),
    ("襄樊市樊城区长虹路", "樊城区", ("襄樊市",)),
    ("西藏林芝地区林芝县八一镇1号", "巴宜区", ("林芝地区", "林芝县")),
    ("黑龙江省伊春市伊春区新兴路", "伊美区", ("伊春区",)),
]

# Text, what is certain all the same, and every place it may mean.
AMBIGUOUS = [
    (
        "朝阳区建国路88号",
        "",
        ("北京市朝阳区", "吉林省长春市朝阳区"),
    ),
    (
        "鼓楼区中山北路1号",
        "",
        (
            "江苏省南京市鼓楼区",
            "江苏省徐州市鼓楼区",
            "福建省福州市鼓楼区",
            "河南省开封市鼓楼区",
        ),
    ),
    (
        "江苏省鼓楼区中山路1号",
        "江苏省",
        ("江苏省南京市鼓楼区", "江苏省徐州市鼓楼区"),
    ),
    ("吉林松江东路12号", "吉林省", ("吉林省", "吉林省吉林市")),
    ("西湖区文三路1号", "", ("浙江省杭州市西湖区", "江西省南昌市西湖区")),
    ("江北区人民路1号", "", ("浙江省宁波市江北区", "重庆市江北区")),
    ("普陀区真如镇1号", "", ("上海市普陀区", "浙江省舟山市普陀区")),
    ("连江县凤城镇1号", "", ("福建省福州市连江县", "台湾省连江县")),
    ("长安区航天大道", "", ("河北省石家庄市长安区", "陕西省西安市长安区")),
    (
        "朝阳建国路1号",
        "",
        ("北京市朝阳区", "辽宁省朝阳市", "辽宁省朝阳市朝阳县", "吉林省长春市朝阳区"),
    ),
    ("义乌国际商贸城一区", "", ("浙江省金华市义乌市",)),
]


def codes(parsed: ParsedAddress) -> list[str]:
    return [problem.code.value for problem in parsed.problems]


def region(*names: str) -> Region:
    found = normalize_region(*names)
    assert found is not None
    return found


def test_there_are_34_provinces_and_each_is_known_by_its_full_and_its_short_name() -> None:
    assert len(PROVINCES) == 34
    assert set(SHORT.values()) == set(PROVINCES)
    for short, full in SHORT.items():
        assert region(short).province == full
        assert region(full).province == full
        assert province_of(short) == province_of(full) == full


def test_each_province_is_known_by_its_one_character_form_when_it_is_the_whole_field() -> None:
    assert [province_of(one) for one in ONE_CHARACTER] == list(PROVINCES)
    assert parse_address("苏宁易购3号楼").province == ""


@pytest.mark.parametrize("name", PROVINCES)
def test_an_address_may_begin_with_any_province_full_or_short(name: str) -> None:
    short = next(key for key, full in SHORT.items() if full == name)
    assert parse_address(f"{name} 某处1号").province == name
    assert parse_address(f"{short} 某处1号").province == name


@pytest.mark.parametrize(("fields", "names"), FIELDS, ids="".join)
def test_three_fields_of_a_platform_become_full_official_names(
    fields: tuple[str, str, str], names: tuple[str, str, str]
) -> None:
    read = region(*fields)
    assert read.names == names
    assert not read.conflict


def test_every_division_is_found_again_by_its_own_names() -> None:
    known = atlas()
    lost = []
    for division in known.divisions.values():
        expected = known.region(known.only_city.get(division.code, division))
        if normalize_region(*expected.names) != expected:
            lost.append(expected)
    assert lost == []


def test_every_division_named_in_full_is_read_from_one_line() -> None:
    known = atlas()
    wrong = []
    for division in known.divisions.values():
        expected = known.region(known.only_city.get(division.code, division))
        parsed = parse_address("".join(expected.names) + "建设路1号")
        if (parsed.region, parsed.detail) != (expected, "建设路1号"):
            wrong.append((expected.names, parsed))
    assert wrong == []


def short_forms() -> list[tuple[str, Region]]:
    """Every county the way people write it, 浙江杭州西湖, with what it must be read as."""
    forms = []
    for (province, stem), counties in atlas().counties.items():
        for county in counties:
            expected = atlas().region(county)
            is_stem = county.name.startswith(stem) and stem != county.name
            if is_stem and not county.is_town and province.endswith("0000"):
                city = "" if expected.city in PROVINCES else expected.city.removesuffix("市")
                forms.append((province_short(expected.province) + city + stem, expected))
    return forms


def province_short(full: str) -> str:
    return next(short for short, name in SHORT.items() if name == full)


def test_every_county_is_read_from_its_short_form_or_all_it_may_mean_is_named() -> None:
    wrong, right, several = [], 0, 0
    for text, expected in short_forms():
        parsed = parse_address(f"{text}建设路1号")
        choices = parsed.problems[0].choices if parsed.problems else ()
        if parsed.region == expected and parsed.detail == "建设路1号":
            right += 1
        elif codes(parsed) == ["ambiguous"] and expected.full_name in choices:
            several += 1
        else:
            wrong.append((text, parsed))
    assert wrong == []
    assert right > 2500
    assert several < 100


def test_a_county_without_anything_above_it_is_right_or_reported_never_wrong() -> None:
    wrong = []
    for division in atlas().divisions.values():
        expected = atlas().region(division)
        parsed = parse_address(division.name + "建设路1号")
        is_right = parsed.region is not None and expected.full_name.startswith(
            parsed.region.full_name
        )
        if not parsed.problems and not is_right:
            wrong.append((division.name, parsed))
    assert wrong == []


def test_an_unknown_province_is_none_and_never_guessed_from_the_city() -> None:
    assert normalize_region("") is None
    assert normalize_region("火星", "杭州市", "西湖区") is None
    assert normalize_region("浙" * 500) is None


def test_a_city_of_another_province_is_flagged_and_nothing_below_it_is_believed() -> None:
    read = region("浙江", "南京市", "玄武区")
    assert read == Region("330000", "浙江省", conflict=True, rest="南京市玄武区")


def test_a_district_of_another_city_is_flagged() -> None:
    read = region("浙江", "杭州", "南山区")
    assert (read.city, read.district, read.conflict) == ("杭州市", "", True)


def test_a_town_or_a_ring_road_in_the_district_field_is_kept_and_no_conflict() -> None:
    assert region("湖北", "仙桃市", "胡场镇").rest == "胡场镇"
    assert region("北京", "朝阳区", "三环到四环之间").rest == "三环到四环之间"
    assert not region("陕西", "西安", "曲江新区").conflict


def test_a_repeated_region_is_answered_within_five_microseconds() -> None:
    normalize_region("浙江省", "杭州市", "西湖区")
    rounds = 20_000
    best = min(_seconds(rounds) for _ in range(5))
    assert best / rounds < 5e-6


def _seconds(rounds: int) -> float:
    start = time.perf_counter()
    for _ in range(rounds):
        normalize_region("浙江省", "杭州市", "西湖区")
    return time.perf_counter() - start


@pytest.mark.parametrize(
    ("text", "province"),
    [
        ("江苏省暂停发货", "江苏省"),
        ("即日起江苏停发", "江苏省"),
        ("广西省", "广西壮族自治区"),
        ("青海南部", "青海省"),
        ("浙江西部", "浙江省"),
        ("江苏路1号", None),
        ("吉林市", None),
        ("停发江苏和浙江", None),
        ("", None),
    ],
)
def test_the_province_a_sentence_names_is_found_and_a_road_names_none(
    text: str, province: str | None
) -> None:
    assert province_of(text) == province


@pytest.mark.parametrize("row", CLEAR_ROWS, ids=lambda row: row[0])
def test_a_tricky_address_is_read_right_and_without_a_problem(row: list[str]) -> None:
    text, *expected = row
    parsed = parse_address(text)
    read = [parsed.province, parsed.city, parsed.district, parsed.town, parsed.detail]
    assert read == expected
    assert parsed.is_clear, codes(parsed)


@pytest.mark.parametrize(("text", "district", "former"), FORMER, ids=str)
def test_a_former_name_comes_back_as_todays_and_is_reported(
    text: str, district: str, former: tuple[str, ...]
) -> None:
    parsed = parse_address(text)
    assert (parsed.district, parsed.former_names, codes(parsed)) == (district, former, [])


@pytest.mark.parametrize(("text", "certain", "choices"), AMBIGUOUS, ids=str)
def test_an_address_that_means_several_places_names_them_all_and_chooses_none(
    text: str, certain: str, choices: tuple[str, ...]
) -> None:
    parsed = parse_address(text)
    assert codes(parsed) == ["ambiguous"]
    assert parsed.problems[0].choices == choices
    assert (parsed.province, parsed.city, parsed.district) == (certain, "", "")
    assert all(choice in parsed.problems[0].message for choice in choices)


def test_what_is_not_certain_stays_in_the_detail_so_that_nothing_is_lost() -> None:
    assert parse_address("朝阳区建国路88号").detail == "朝阳区建国路88号"
    assert parse_address("江苏省鼓楼区中山路1号").detail == "鼓楼区中山路1号"
    assert parse_address("浙江省南京市鼓楼区中山路").detail == "南京市鼓楼区中山路"


@pytest.mark.parametrize(
    "text",
    [
        "北京西路100号",
        "南京东路300号",
        "浙江大学紫金港校区",
        "吉林大厦8层",
        "东区3号楼",
        "东方花园12栋",
        "文三路1号",
        "12345678",
    ],
)
def test_a_road_or_a_building_named_after_a_place_is_no_province(text: str) -> None:
    parsed = parse_address(text)
    assert codes(parsed) == ["unknown_province"]
    assert (parsed.region, parsed.detail) == (None, text)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("浙江省南京市鼓楼区中山路1号", "city_province_conflict"),
        ("广东省广州市 浙江省杭州市西湖区文三路", "city_province_conflict"),
        ("浙江省杭州市南山区科技路1号", "district_city_conflict"),
        ("浙江省昆山市玉山镇1号", "district_city_conflict"),
        ("浙江省文三路1号", "no_city"),
        ("浙江省杭州市西湖区", "no_detail"),
        ("浙江省杭州市西湖区 无", "no_detail"),
        ("浙江省杭州市西湖区1111", "no_detail"),
        ("浙江省杭州市西湖区😀😀", "no_detail"),
        ("😀😀😀", "emoji_only"),
        ("👨\u200d👩\u200d👧️ ❤️ !!!", "emoji_only"),
        ("", "empty"),
        (" \n\t", "empty"),
    ],
)
def test_a_wrong_address_says_what_is_wrong_with_it(text: str, code: str) -> None:
    parsed = parse_address(text)
    assert codes(parsed) == [code]
    assert parsed.problems[0].message


def test_an_address_of_2000_characters_is_reported_and_its_detail_kept_whole() -> None:
    tail = "文三路1号" + "很长" * 1000
    parsed = parse_address("浙江省杭州市西湖区" + tail)
    assert codes(parsed) == ["too_long"]
    assert parsed.detail == tail
    assert str(MAX_LENGTH) in parsed.problems[0].message


def test_a_masked_detail_is_no_missing_detail() -> None:
    parsed = parse_address("上海市徐汇区*****")
    assert (parsed.district, parsed.detail, codes(parsed)) == ("徐汇区", "*****", [])


@pytest.mark.parametrize(
    ("text", "name", "phone"),
    [
        ("张三 13800138000 浙江省 杭州市 西湖区 文三路1号", "张三", "13800138000"),
        ("张三13800138000浙江省杭州市西湖区文三路1号", "张三", "13800138000"),
        ("张三，138 0013 8000，浙江省杭州市西湖区文三路1号", "张三", "138 0013 8000"),
        ("浙江省杭州市西湖区文三路1号 李四 18877771111-123", "李四", "18877771111-123"),
        ("浙江省杭州市西湖区文三路1号张三13800138000", "张三", "13800138000"),
        (
            "收件人：王五 电话：+86 13800138000 地址：浙江杭州西湖区文三路1号",
            "王五",
            "+86 13800138000",
        ),
        ("欧阳娜娜 浙江省杭州市西湖区文三路1号", "欧阳娜娜", ""),
        ("0571-88888888 浙江省杭州市西湖区文三路1号", "", "0571-88888888"),
        ("吉林 13800138000 浙江省杭州市西湖区文三路1号", "吉林", "13800138000"),
    ],
)
def test_a_name_and_a_phone_stuck_in_the_text_stay_out_of_the_detail(
    text: str, name: str, phone: str
) -> None:
    parsed = parse_address(text)
    assert (parsed.city, parsed.district, parsed.detail) == ("杭州市", "西湖区", "文三路1号")
    assert (parsed.name, parsed.phone, codes(parsed)) == (name, phone, [])


def test_a_word_that_may_be_a_place_is_not_taken_for_a_name() -> None:
    parsed = parse_address("浙江省杭州市西湖区文三路1号王家井13800138000")
    assert (parsed.detail, parsed.name) == ("文三路1号王家井", "")
    parsed = parse_address("浙江省杭州市余杭区 13800138000 张三丰 文一西路1号")
    assert (parsed.detail, parsed.name) == ("张三丰 文一西路1号", "")


@settings(deadline=None)
@given(st.text(max_size=300) | st.text("省市区县北京吉林朝阳路街 1号雄安新区*-(", max_size=300))
def test_any_text_is_read_the_same_twice_and_either_has_a_province_or_a_problem(text: str) -> None:
    parsed = parse_address(text)
    assert parse_address(text) == parsed
    assert parsed.province or parsed.problems
    for problem in parsed.problems:
        assert problem.message


def test_hostile_repetition_costs_no_more_than_a_moment() -> None:
    started = time.perf_counter()
    for word in (
        "浙江",
        "北京市",
        "雄安新区",
        "市辖区北京市",
        "13800138000",
        "a b ",
        "镇",
        "((",
        "中国",
    ):
        parse_address(word * (6000 // len(word)))
        address_key(region("浙江"), word * (6000 // len(word)))
    assert time.perf_counter() - started < 2


WEST_LAKE = ("浙江", "杭州", "西湖区")


@pytest.mark.parametrize(
    "spellings",
    [
        [
            "文三路1号3栋2单元501室",
            "文三路\uff11号\uff13幢2单元501",
            "文三路 1号 3号楼 2-501",
            "文三路1號三栋二单元五\u3007一室",
            "浙江省杭州市西湖区文三路1号3-2-501",
            "翠苑街道文三路1号3#2单元501室",
            "西湖区文三路1号，3栋，2单元，501室（放门卫）",
            "文三路1号3座2单元5楼501",
        ],
        ["文三路1号", "文三路1", "文三路一号", "文三路 1 號"],
        ["中山一路十二号", "中山1路12号"],
        ["幸福小区A座1201", "幸福小区a栋1201室"],
        ["转塘镇张家村一组", "转塘镇张家村1组"],
    ],
    ids=lambda value: value[0],
)
def test_one_address_has_one_key_however_it_is_typed(spellings: list[str]) -> None:
    assert len({address_key(region(*WEST_LAKE), text) for text in spellings}) == 1
    assert address_key(region(*WEST_LAKE), spellings[0])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("文三路1号", "文三路11号"),
        ("文三路1号2栋", "文三路12号"),
        ("文三路1号3栋2单元501室", "文三路1号3栋2单元502室"),
        ("文三路1号", "文二路1号"),
        ("1栋12室", "11栋2室"),
        ("转塘镇人民路1号", "留下镇人民路1号"),
        ("幸福小区A座", "幸福小区B座"),
        ("文三路1号3楼", "文三路1号3号楼"),
    ],
)
def test_different_addresses_have_different_keys(one: str, other: str) -> None:
    assert address_key(region(*WEST_LAKE), one) != address_key(region(*WEST_LAKE), other)


def test_the_same_house_number_in_another_district_is_another_address() -> None:
    detail = "人民路1号"
    assert address_key(region("浙江", "杭州", "上城区"), detail) != address_key(
        region(*WEST_LAKE), detail
    )


@pytest.mark.parametrize(
    "detail", ["", "  ", "文三路*号", "文三路\uff0a\uff0a号", "***", "😀", "西湖区", "——"]
)
def test_a_masked_or_empty_detail_has_no_key(detail: str) -> None:
    assert address_key(region(*WEST_LAKE), detail) == ""


def test_a_town_given_as_district_or_inside_the_detail_makes_the_same_key() -> None:
    for province, city, town in (("广东", "东莞", "长安镇"), ("湖北", "仙桃市", "胡场镇")):
        given_apart = address_key(region(province, city, town), "建设路5号")
        assert given_apart == address_key(region(province, city), f"{town}建设路5号")
        assert given_apart != address_key(region(province, city), "建设路5号")


def test_a_ring_road_of_one_platform_does_not_part_an_address_from_the_others() -> None:
    by_rings = address_key(region("北京", "朝阳区", "三环到四环之间"), "建国路88号")
    assert by_rings == address_key(region("北京市", "北京市", "朝阳区"), "建国路88号")


@settings(deadline=None)
@given(st.text(max_size=80))
def test_a_key_is_stable_and_never_made_of_a_masked_text(detail: str) -> None:
    key = address_key(region(*WEST_LAKE), detail)
    assert address_key(region(*WEST_LAKE), detail) == key
    assert "*" not in key


def test_the_tables_name_only_codes_that_exist_and_every_change_is_read() -> None:
    known = atlas()
    aliases = json.loads((DATA / "aliases.json").read_text())
    assert set(aliases["divisions"]) <= set(known.divisions)
    assert set(aliases["zones"].values()) <= set(known.divisions)
    for row in json.loads((DATA / "changes.json").read_text()):
        above, now = known.divisions[row["under"]], known.divisions[row["now"]]
        upper = known.region(above)
        read = region(*(name for name in (upper.province, upper.city) if name), row["old"])
        assert read.code == now.code, row


def test_the_vendored_data_carries_its_license_and_version() -> None:
    published = json.loads((DATA / "divisions.json").read_text())
    assert (published["source"], published["version"]) == ("@vant/area-data", "2.1.0")
    assert "MIT License" in (DATA / "LICENSE.vant-area-data").read_text()
    assert len(published["divisions"]) == 34 + 369 + 3479


def test_the_command_prints_one_json_document_with_every_address_in_order() -> None:
    out = StringIO()
    call_command("parse_address", "--json", "杭州西湖区文三路1号", "吉林松江东路12号", stdout=out)
    first, second = json.loads(out.getvalue())["addresses"]
    assert (first["province"], first["city"], first["district"], first["detail"]) == (
        "浙江省",
        "杭州市",
        "西湖区",
        "文三路1号",
    )
    assert first["problems"] == []
    assert second["problems"] == [
        {
            "code": ProblemCode.AMBIGUOUS.value,
            "message": "“吉林”可能是：吉林省、吉林省吉林市，请确认",
            "choices": ["吉林省", "吉林省吉林市"],
        }
    ]


def test_the_command_tells_people_line_by_line_what_was_read_and_what_is_wrong() -> None:
    out = StringIO()
    call_command("parse_address", "浙江省杭州市下城区", stdout=out)
    assert out.getvalue().splitlines() == [
        "浙江省杭州市下城区",
        "  省：浙江省",
        "  市：杭州市",
        "  区县：拱墅区",
        "  旧地名：下城区",
        "  问题：缺少详细地址（街道、门牌号）",
    ]


def test_the_command_answers_for_an_argument_that_is_no_text() -> None:
    out = StringIO()
    call_command("parse_address", "--json", "\udcff\udcfe", "", stdout=out)
    broken, empty = json.loads(out.getvalue().encode())["addresses"]
    assert [one["code"] for one in broken["problems"]] == ["emoji_only"]
    assert [one["code"] for one in empty["problems"]] == ["empty"]
