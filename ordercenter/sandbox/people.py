"""Invented people who buy, and real places they live in.

Places are province, city and district as GB/T 2260 spells them; streets, houses, names and
phones are made up. Every buyer asked for is another one, until ten thousand have been.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ordercenter.sandbox.book import Buyer, Receiver
from ordercenter.sandbox.wire import digest

if TYPE_CHECKING:
    from random import Random

# Weight, province, and its cities with districts. A municipality is its own city.
PLACES: Final[tuple[tuple[int, str, dict[str, tuple[str, ...]]], ...]] = (
    (
        13,
        "江苏省",
        {
            "南京市": ("鼓楼区", "玄武区", "江宁区"),
            "苏州市": ("吴中区", "姑苏区", "昆山市"),
            "无锡市": ("梁溪区", "滨湖区"),
            "南通市": ("崇川区",),
            "徐州市": ("云龙区", "泉山区"),
        },
    ),
    (
        12,
        "浙江省",
        {
            "杭州市": ("余杭区", "西湖区", "萧山区"),
            "宁波市": ("海曙区", "鄞州区"),
            "温州市": ("鹿城区", "瑞安市"),
            "金华市": ("义乌市", "婺城区"),
            "嘉兴市": ("南湖区",),
        },
    ),
    (
        15,
        "广东省",
        {
            "广州市": ("天河区", "越秀区", "番禺区"),
            "深圳市": ("南山区", "福田区", "龙岗区"),
            "佛山市": ("南海区", "顺德区"),
            "珠海市": ("香洲区",),
            "惠州市": ("惠城区",),
        },
    ),
    (8, "上海市", {"上海市": ("徐汇区", "浦东新区", "闵行区", "杨浦区")}),
    (7, "北京市", {"北京市": ("朝阳区", "海淀区", "丰台区", "通州区")}),
    (
        6,
        "四川省",
        {"成都市": ("武侯区", "锦江区", "双流区"), "绵阳市": ("涪城区",), "宜宾市": ("翠屏区",)},
    ),
    (
        6,
        "山东省",
        {"济南市": ("历下区", "市中区"), "青岛市": ("市南区", "崂山区"), "烟台市": ("芝罘区",)},
    ),
    (5, "河南省", {"郑州市": ("金水区", "二七区"), "洛阳市": ("西工区", "洛龙区")}),
    (4, "湖北省", {"武汉市": ("武昌区", "洪山区", "江汉区"), "宜昌市": ("西陵区",)}),
    (4, "湖南省", {"长沙市": ("岳麓区", "雨花区"), "株洲市": ("天元区",)}),
    (
        4,
        "福建省",
        {"福州市": ("鼓楼区", "仓山区"), "厦门市": ("思明区", "湖里区"), "泉州市": ("丰泽区",)},
    ),
    (4, "安徽省", {"合肥市": ("蜀山区", "包河区"), "芜湖市": ("镜湖区",)}),
    (4, "河北省", {"石家庄市": ("长安区", "裕华区"), "廊坊市": ("广阳区",), "保定市": ("莲池区",)}),
    (3, "辽宁省", {"沈阳市": ("和平区", "沈河区"), "大连市": ("中山区", "甘井子区")}),
    (3, "陕西省", {"西安市": ("雁塔区", "碑林区"), "咸阳市": ("秦都区",)}),
    (3, "重庆市", {"重庆市": ("渝中区", "渝北区", "南岸区")}),
    (3, "天津市", {"天津市": ("和平区", "南开区", "滨海新区")}),
    (2, "江西省", {"南昌市": ("东湖区", "红谷滩区"), "赣州市": ("章贡区",)}),
    (2, "广西壮族自治区", {"南宁市": ("青秀区", "西乡塘区"), "柳州市": ("城中区",)}),
    (2, "云南省", {"昆明市": ("五华区", "盘龙区")}),
    (2, "山西省", {"太原市": ("小店区", "迎泽区")}),
    (2, "黑龙江省", {"哈尔滨市": ("南岗区", "道里区")}),
    (2, "吉林省", {"长春市": ("朝阳区", "南关区")}),
    (1, "贵州省", {"贵阳市": ("云岩区", "南明区")}),
    (1, "海南省", {"海口市": ("龙华区", "美兰区")}),
    (1, "内蒙古自治区", {"呼和浩特市": ("赛罕区", "新城区")}),
    (1, "甘肃省", {"兰州市": ("城关区",)}),
    (1, "宁夏回族自治区", {"银川市": ("兴庆区",)}),
)
RESTRICTED: Final[tuple[tuple[str, str, str], ...]] = (
    ("新疆维吾尔自治区", "乌鲁木齐市", "天山区"),
    ("西藏自治区", "拉萨市", "城关区"),
)
SURNAMES: Final = "林周吴陈鲁方郝沈叶苏程顾江韩冯许邓曹彭曾萧田董潘袁蔡蒋余杜"
GIVEN: Final = (
    "思远", "雨桐", "子墨", "欣怡", "浩然", "晓云", "若溪", "明轩", "静秋", "嘉懿", "文博", "佳宁",
    "一鸣", "书瑶", "泽宇", "婉清", "立诚", "可欣", "承志", "映雪", "建国", "美玲", "海燕", "志强",
)  # fmt: skip
STREETS: Final = ("示范路", "样例街", "虚构大道", "演示巷", "假想路", "无名街")
ESTATES: Final = ("云上花园", "示例公寓", "虚构新村", "演示家园", "镜湖小区")
PHONES: Final = 10_000  # 199 0000 0000 to 199 0000 9999


def new_person(random: Random, turn: int, *, restricted: bool = False) -> tuple[Buyer, Receiver]:
    """The ``turn``-th buyer, who shares no id, phone, IP or door with another near in time."""
    if restricted:
        province, city, district = random.choice(RESTRICTED)
    else:
        _, province, cities = random.choices(PLACES, weights=[p[0] for p in PLACES])[0]
        city = random.choice(list(cities))
        district = random.choice(cities[city])
    name = random.choice(SURNAMES) + random.choice(GIVEN)
    phone = f"1990000{turn * 7919 % PHONES:04d}"
    # 198.18.0.0/15 belongs to nobody: it is set aside for measurements.
    number = turn % (1 << 17)
    ip = f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
    key = digest("buyer", turn, length=12)
    buyer = Buyer(f"u{key}", f"{name[0]}{key[:6]}", name, phone, ip, f"dev-{key}")
    door = f"{random.choice(STREETS)}{turn % 997 + 1}号{random.choice(ESTATES)}"
    address = (
        f"{door}{turn // 997 % 60 + 1}栋{random.randint(1, 3)}单元{random.randint(101, 1999)}室"
    )
    return buyer, Receiver(name, phone, province, city, district, "", address, "000000")
