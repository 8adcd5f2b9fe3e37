#!/usr/bin/env python3
"""Make, or check, the sample company that ships with the tests.

    make_sample.py SOURCE OUT     read the data folder SOURCE, write into the folder OUT:
                                  customers.csv, orders.csv, company.json
    make_sample.py --check DIR    verify those three files in DIR; exit status 1 and one
                                  line per fault on standard error when something is wrong

SOURCE holds customers/stores-cn.csv, retail/invoices.csv and regions/cities.csv; their
columns, origin and licences are described in ../README.md.

The output is a pure function of SOURCE: every choice comes from SHA-256 of a salt and a
key, never from a clock, a random generator or the order of a dictionary.  Running the
script twice gives the same bytes.  Only the Python standard library is used.

customers.csv
    2,100 of the mainland shop locations.  City, district, and coordinates are the source's;
    name, street, contact, phone, e-mail and all classifications are invented.
orders.csv
    1,640 of the shops (78 %) have orders.  Source: one-year histories of 3,280 customers of
    a UK wholesaler, used once each.  A shop gets one history as its first year and another
    one from the same size class (ten neighbours in the order of net value) as its second.
    Dates move by whole weeks, so weekdays and gaps stay as they were:
        2010-12-11 .. 2011-12-09  ->  2024-11-16 .. 2025-11-14   (year 1)
        2010-12-11 .. 2011-12-09  ->  2025-11-15 .. 2026-11-13   (year 2)
    Amounts: 1 penny becomes 90 fen (GBP 1 = CNY 90, a scale, not an exchange rate).
company.json
    One tenant, four units, 24 employees: the constants below.
"""

import collections
import csv
import datetime
import hashlib
import json
import math
import os
import re
import sys

# --- numbers -------------------------------------------------------------------------

N_CUSTOMERS = 2100
N_WITH_ORDERS = 1640
SIZE_CLASS = 10                 # histories that count as one size class, by rank
FEN_PER_PENNY = 90
SRC_FIRST, SRC_LAST = datetime.date(2010, 12, 11), datetime.date(2011, 12, 9)
YEAR_START = (datetime.date(2024, 11, 16), datetime.date(2025, 11, 15))
WINDOW_FIRST, WINDOW_LAST = datetime.date(2024, 11, 16), datetime.date(2026, 11, 15)
OPEN_S, CLOSE_S = 9 * 3600, 18 * 3600       # business hours, seconds of the day

CUSTOMER_COLUMNS = (
    "external_id,name,name_en,industry,company_size,address,city_code,province_code,lat,lon,"
    "source,relation_type,owner_no,contact_name,contact_position,contact_phone,contact_email,"
    "potential_rating").split(",")
ORDER_COLUMNS = "external_id,customer_external_id,ordered_at,amount_minor,currency,kind".split(",")

# (weight, value)
SOURCES = ((14, "market_research"), (12, "trade_exhibition"), (12, "web_search"),
           (6, "company_website"), (8, "social_media"), (5, "professional_forum"),
           (8, "online_advertising"), (16, "customer_referral"), (15, "visit"), (4, "other"))
SIZES = ("small", "medium", "large")
RELATIONS = ("existing", "target", "prospect")
FORBIDDEN = ("starbucks", "星巴克", "coffee", "咖啡")

# --- word lists (all invented; plants and plain nouns) -----------------------------------

ROADS = [p.split() for p in """
海棠 Haitang;银杏 Yinxing;桂花 Guihua;梧桐 Wutong;玉兰 Yulan;香樟 Xiangzhang;丁香 Dingxiang
紫藤 Ziteng;木棉 Mumian;青松 Qingsong;翠竹 Cuizhu;白桦 Baihua;红枫 Hongfeng;石榴 Shiliu
杏林 Xinglin;梨园 Liyuan;桃溪 Taoxi;柳岸 Liuan;荷塘 Hetang;菊香 Juxiang;兰亭 Lanting
茉莉 Moli;芙蓉 Furong;月季 Yueji;山茶 Shancha;百合 Baihe;杜鹃 Dujuan;蔷薇 Qiangwei
云杉 Yunshan;雪松 Xuesong;枣林 Zaolin;榆荫 Yuyin;槐荫 Huaiyin;桑园 Sangyuan;橘洲 Juzhou
清泉 Qingquan;碧波 Bibo;映月 Yingyue;朝霞 Zhaoxia;晚晴 Wanqing;和风 Hefeng;春晓 Chunxiao
秋实 Qiushi;瑞雪 Ruixue;晨光 Chenguang;书香 Shuxiang;望山 Wangshan;听雨 Tingyu;观澜 Guanlan
长乐 Changle;安和 Anhe;永宁 Yongning;和顺 Heshun;同心 Tongxin;友谊 Youyi;勤俭 Qinjian
丰收 Fengshou;麦田 Maitian;稻香 Daoxiang;茶山 Chashan
""".replace("\n", ";").split(";") if p.strip()]

# industry: weight, ((Chinese, English), ...)
INDUSTRIES = {
    "convenience": (22, (("便利商行", "Convenience Shop"), ("便民超市", "Neighbourhood Market"),
                         ("生活超市", "Everyday Market"), ("小卖部", "Corner Shop"))),
    "grocery": (18, (("食品商行", "Food Store"), ("副食店", "Provisions"),
                     ("粮油店", "Grain & Oil Shop"), ("果蔬店", "Greengrocer"))),
    "household": (14, (("日用百货店", "Household Goods"), ("家居用品店", "Homeware"),
                       ("杂货铺", "General Store"))),
    "stationery": (12, (("文具店", "Stationery"), ("办公用品店", "Office Supplies"),
                        ("文教用品店", "School Supplies"))),
    "gifts": (12, (("礼品店", "Gift Shop"), ("工艺品店", "Craft Shop"), ("饰品店", "Trinkets"))),
    "hardware": (8, (("五金商行", "Hardware"), ("灯具店", "Lighting"), ("建材商行", "Building Supplies"))),
    "books": (6, (("书店", "Bookshop"), ("书屋", "Book House"))),
    "sports": (4, (("体育用品店", "Sports Goods"), ("户外用品店", "Outdoor Goods"))),
    "florist": (4, (("花店", "Florist"), ("园艺店", "Garden Shop"))),
}

SURNAMES = ("王 李 张 刘 陈 杨 赵 黄 周 吴 徐 孙 胡 朱 高 林 何 郭 马 罗 梁 宋 郑 谢 韩 唐 冯 于 董 萧 "
            "程 曹 袁 邓 许 傅 沈 曾 彭 吕 欧阳 诸葛").split()
GIVEN = ("伟 芳 娜 敏 静 丽 强 磊 洋 勇 艳 杰 娟 涛 明 超 霞 平 刚 文博 思远 雨桐 子涵 佳怡 志强 建华 "
         "晓燕 海燕 春梅 国庆 立新 家豪 嘉欣 婷婷 浩然 一鸣 若水 景行 书瑶 瑾 喆 骁").split()
POSITIONS = ((35, "店长"), (25, "采购经理"), (20, "负责人"), (12, "采购主管"), (8, "财务经理"))

# --- the company ---------------------------------------------------------------------------


def fixed_id(group, n):
    """A constant that looks like a UUIDv7: version nibble 7, variant 8."""
    return "01933a00-0000-7000-8%03x-%012x" % (group, n)


TENANT = {"id": fixed_id(0, 1), "name": "晨帆商贸有限公司", "time_zone": "Asia/Shanghai", "currency": "CNY"}

UNITS = (  # code, name, name_en, parent, city
    ("HQ", "公司总部", "Head Office", None, "310100"),
    ("EAST", "华东大区", "East", "HQ", "310100"),
    ("NORTH", "华北大区", "North", "HQ", "110100"),
    ("SOUTH", "华南大区", "South", "HQ", "440100"),
)

EMPLOYEES = (  # number, name, name_en, unit, roles, superior, home city
    ("E001", "顾望舒", "Gu Wangshu", "HQ", "general_manager", None, "310100"),
    ("E002", "沈知行", "Shen Zhixing", "EAST", "sales_manager", "E001", "310100"),
    ("E003", "陆清和", "Lu Qinghe", "EAST", "supervisor", "E002", "310100"),
    ("E004", "许安澜", "Xu Anlan", "EAST", "team_lead", "E003", "310100"),
    ("E005", "苏予宁", "Su Yuning", "EAST", "team_lead", "E003", "320500"),
    ("E006", "蒋一帆", "Jiang Yifan", "EAST", "senior_rep,rep", "E004", "310100"),
    ("E007", "秦若晴", "Qin Ruoqing", "EAST", "rep", "E004", "310100"),
    ("E008", "方子衿", "Fang Zijin", "EAST", "rep", "E004", "310100"),
    ("E009", "钱书远", "Qian Shuyuan", "EAST", "rep", "E005", "320500"),
    ("E010", "俞思齐", "Yu Siqi", "EAST", "rep", "E005", "330100"),
    ("E011", "陶景明", "Tao Jingming", "EAST", "rep", "E005", "320100"),
    ("E012", "韩北辰", "Han Beichen", "NORTH", "sales_manager,regional_manager", "E001", "110100"),
    ("E013", "郭长风", "Guo Changfeng", "NORTH", "team_lead", "E012", "110100"),
    ("E014", "孟晓棠", "Meng Xiaotang", "NORTH", "senior_rep,rep", "E013", "110100"),
    ("E015", "于海宁", "Yu Haining", "NORTH", "rep", "E013", "110100"),
    ("E016", "姜立秋", "Jiang Liqiu", "NORTH", "rep", "E013", "370200"),
    ("E017", "雷鸣远", "Lei Mingyuan", "NORTH", "rep", "E013", "610100"),
    ("E018", "梁嘉禾", "Liang Jiahe", "SOUTH", "supervisor", "E001", "440100"),
    ("E019", "黎向阳", "Li Xiangyang", "SOUTH", "team_lead", "E018", "440100"),
    ("E020", "冼文锋", "Xian Wenfeng", "SOUTH", "senior_rep,rep", "E019", "440100"),
    ("E021", "欧阳澄", "Ouyang Cheng", "SOUTH", "rep", "E019", "440300"),
    ("E022", "邓蜀宁", "Deng Shuning", "SOUTH", "rep", "E019", "510100"),
    ("E023", "楚江平", "Chu Jiangping", "SOUTH", "rep", "E019", "420100"),
    ("E024", "白露", "Bai Lu", "HQ", "sales_assistant,customer_service", "E001", "310100"),
)


def company():
    """The content of company.json."""
    units = [dict(zip(("id", "code", "name", "name_en", "parent_code", "city_code"),
                      (fixed_id(1, i),) + u)) for i, u in enumerate(UNITS, 1)]
    employees = []
    for i, (no, name, name_en, unit, roles, superior, city) in enumerate(EMPLOYEES, 1):
        employees.append({"id": fixed_id(2, i), "employee_no": no, "name": name, "name_en": name_en,
                          "unit_code": unit, "roles": roles.split(","), "superior_no": superior,
                          "home_city_code": city})
    return {"tenant": TENANT, "units": units, "employees": employees}


# --- helpers ----------------------------------------------------------------------------------


def h(salt, key, below=None):
    """A number from the hash of (salt, key), in 0..below-1 if below is given."""
    n = int.from_bytes(hashlib.sha256(("%s:%s" % (salt, key)).encode()).digest()[:8], "big")
    return n if below is None else n % below


def pick(salt, key, weighted):
    """A value of a ((weight, value), ...) list, chosen by hash."""
    n = h(salt, key, sum(w for w, _ in weighted))
    for weight, value in weighted:
        if n < weight:
            return value
        n -= weight
    raise AssertionError


def read(*path):
    with open(os.path.join(*path), encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f))


def write_csv(path, columns, rows):
    with open(path, "w", encoding="utf-8", newline="") as f:
        out = csv.DictWriter(f, columns, lineterminator="\n")
        out.writeheader()
        out.writerows(rows)


def distance_km(a, b):
    """Great-circle distance of two (lat, lon) in degrees."""
    la, oa, lb, ob = (math.radians(x) for x in a + b)
    s = math.sin((lb - la) / 2) ** 2 + math.cos(la) * math.cos(lb) * math.sin((ob - oa) / 2) ** 2
    return 2 * 6371.0 * math.asin(math.sqrt(s))


def district(address):
    """The district or county at the head of a published address, or nothing if unclear."""
    head = re.sub(r"^.*[省市]", "", address.split(",")[0].strip())
    return head if re.fullmatch(r"[\u4e00-\u9fff]{1,3}[区县]", head) and head.count("区") < 2 else ""


# --- orders -----------------------------------------------------------------------------------


def histories(source):
    """[(net pence, customer, [(date, invoice number, pence), ...])], largest first.

    Invoices of amount 0, adjustments (negative without being a cancellation) and customers
    without one positive invoice or with a negative or zero net sum are left out.  Of those
    with a single invoice the smallest go, until two histories per ordering shop remain.
    """
    by_customer = collections.defaultdict(list)
    for r in read(source, "retail", "invoices.csv"):
        day = datetime.date.fromisoformat(r["date"])
        sign, whole, cents = re.fullmatch(r"(-?)(\d+)\.(\d\d)", r["amount"]).groups()
        pence = (int(whole) * 100 + int(cents)) * (-1 if sign else 1)
        cancelled = r["invoice"].startswith("C")
        if SRC_FIRST <= day <= SRC_LAST and pence and cancelled == (pence < 0):
            by_customer[r["customer_id"]].append((day, int(r["invoice"].lstrip("C")), pence))
    found = []
    for customer, items in by_customer.items():
        net = sum(p for _, _, p in items)
        if net > 0 and any(p > 0 for _, _, p in items):
            found.append((net, customer, sorted(items)))
    found.sort(key=lambda x: (len(x[2]) == 1, -x[0], x[1]))
    found = found[:2 * N_WITH_ORDERS]
    found.sort(key=lambda x: (-x[0], x[1]))
    return found


def history_pairs(source):
    """One (year-1 items, year-2 items) per ordering shop, largest size class first."""
    found = histories(source)
    assert len(found) == 2 * N_WITH_ORDERS and N_WITH_ORDERS * 2 % SIZE_CLASS == 0
    pairs = []
    for i in range(0, len(found), SIZE_CLASS):
        group = sorted(found[i:i + SIZE_CLASS], key=lambda x: h("pair", x[1]))
        pairs += [(group[j][2], group[j + 1][2]) for j in range(0, SIZE_CLASS, 2)]
    return pairs


def orders_of(customer_id, pair):
    """The order rows of one shop, external_id still missing."""
    by_day = collections.defaultdict(list)
    for start, items in zip(YEAR_START, pair):
        for day, invoice, pence in items:
            by_day[start + (day - SRC_FIRST)].append((invoice, pence))
    rows = []
    for day, items in sorted(by_day.items()):
        seconds = set()             # distinct times, given out in the order of the invoice numbers
        n = 0
        while len(seconds) < len(items):
            seconds.add(OPEN_S + h("time", "%s/%s/%d" % (customer_id, day, n), CLOSE_S - OPEN_S))
            n += 1
        for (_, pence), s in zip(sorted(items), sorted(seconds)):
            rows.append({
                "customer_external_id": customer_id,
                "ordered_at": "%sT%02d:%02d:%02d+08:00" % (day, s // 3600, s // 60 % 60, s % 60),
                "amount_minor": pence * FEN_PER_PENNY,
                "currency": "CNY",
                "kind": "order" if pence > 0 else "cancellation"})
    return rows


# --- customers -----------------------------------------------------------------------------------


def customers(source, n_pairs):
    """(customer rows, {external_id: index of its history pair})."""
    cities = {c["code"]: c for c in read(source, "regions", "cities.csv")}
    shops = [s for s in read(source, "customers", "stores-cn.csv")
             if s["province_code"] not in ("71", "81", "82") and s["city_code"] in cities]
    shops.sort(key=lambda s: (h("keep", s["store_id"]), s["store_id"]))
    shops = sorted(shops[:N_CUSTOMERS], key=lambda s: s["store_id"])
    ids = ["S-%06d" % i for i in range(1, len(shops) + 1)]
    pair_of = {x: i for i, x in enumerate(sorted(ids, key=lambda x: h("orders", x))[:n_pairs])}

    reps = collections.defaultdict(list)        # home city -> employee numbers
    for no, _, _, _, roles, _, city in EMPLOYEES:
        if "rep" in roles.split(","):
            reps[city].append(no)

    def position(x):
        return float(x["lat"]), float(x["lon"])

    used, rows = set(), []
    for number, (x, shop) in enumerate(zip(ids, shops), 1):
        city = cities[shop["city_code"]]
        short = re.sub(r"(市|地区|盟|自治州)$", "", city["name"])
        industry = pick("industry", x, [(w, k) for k, (w, _) in INDUSTRIES.items()])
        kinds = INDUSTRIES[industry][1]
        slot = h("name", x, len(ROADS) * len(kinds))
        while True:                             # next free road and shop word of the city
            road, road_en = ROADS[slot // len(kinds)]
            kind, kind_en = kinds[slot % len(kinds)]
            name = short + road + "路" + kind
            if name not in used:
                break
            slot = (slot + 1) % (len(ROADS) * len(kinds))
        used.add(name)

        address = "%s%s%s路%d号" % (city["name"], district(shop["address"]), road, 1 + h("no", x, 399))
        style = h("style", x, 10)
        if style == 0:
            address += ", %d层" % (1 + h("floor", x, 3))
        elif style == 1:
            address += "（近%s路）" % ROADS[h("near", x, len(ROADS))][0]
        name_en = "%s %s Road %s" % (city["seat_en"], road_en, kind_en)
        if h("quote", x, 40) == 0:
            name_en = '%s %s Road "%s", Ltd.' % (city["seat_en"], road_en, kind_en)

        # size: by the rank of the orders, or by hash; one in six is a notch off
        rank = pair_of.get(x, h("size", x, n_pairs)) / n_pairs
        size = 2 if rank < 0.12 else 1 if rank < 0.45 else 0
        if h("notch", x, 6) == 0:
            size = 1 if size != 1 else h("which", x, 2) * 2

        if x in pair_of:
            relation = "existing"
        else:
            relation = "target" if h("relation", x, 100) < 40 else "prospect"
        home = min(reps, key=lambda c: (distance_km(position(shop), position(cities[c])), c))
        rows.append({
            "external_id": x,
            "name": name,
            "name_en": name_en,
            "industry": industry,
            "company_size": SIZES[size],
            "address": address,
            "city_code": shop["city_code"],
            "province_code": shop["province_code"],
            "lat": shop["lat"],
            "lon": shop["lon"],
            "source": pick("source", x, SOURCES),
            "relation_type": relation,
            "owner_no": reps[home][h("owner", x, len(reps[home]))],
            "contact_name": SURNAMES[h("surname", x, len(SURNAMES))] + GIVEN[h("given", x, len(GIVEN))],
            "contact_position": pick("position", x, POSITIONS),
            "contact_phone": "1990000%04d" % number,
            "contact_email": "contact%06d@example.%s" % (number, ("com", "org")[h("mail", x, 2)]),
            "potential_rating": h("potential", x, 101)})
    return rows, pair_of


def make(source, out):
    pairs = history_pairs(source)
    shops, pair_of = customers(source, len(pairs))
    orders = [o for s in shops if s["external_id"] in pair_of
              for o in orders_of(s["external_id"], pairs[pair_of[s["external_id"]]])]
    orders.sort(key=lambda o: (o["ordered_at"], o["customer_external_id"]))
    for i, o in enumerate(orders, 1):
        o["external_id"] = "O-%06d" % i
    os.makedirs(out, exist_ok=True)
    write_csv(os.path.join(out, "customers.csv"), CUSTOMER_COLUMNS, shops)
    write_csv(os.path.join(out, "orders.csv"), ORDER_COLUMNS, orders)
    with open(os.path.join(out, "company.json"), "w", encoding="utf-8", newline="") as f:
        json.dump(company(), f, ensure_ascii=False, indent=2)
        f.write("\n")


# --- check ----------------------------------------------------------------------------------------


def check(folder):
    """The faults found in a folder, as a list of lines."""
    faults = []

    def need(ok, text, *args):
        if not ok:
            faults.append(text % args)

    def unique(what, values):
        for value, n in collections.Counter(values).items():
            need(n == 1, "%s: %s occurs %d times", what, value, n)

    for name in ("customers.csv", "orders.csv", "company.json"):
        with open(os.path.join(folder, name), encoding="utf-8", newline="") as f:
            text = f.read().lower()
        for word in FORBIDDEN:
            need(word not in text, "%s: contains the word %s", name, word)

    # company
    with open(os.path.join(folder, "company.json"), encoding="utf-8") as f:
        data = json.load(f)
    units = {u["code"]: u for u in data["units"]}
    staff = {e["employee_no"]: e for e in data["employees"]}
    unique("id", [data["tenant"]["id"]] + [x["id"] for x in data["units"] + data["employees"]])
    unique("unit", [u["code"] for u in data["units"]])
    unique("employee", [e["employee_no"] for e in data["employees"]])
    need(sorted(units) == sorted(u[0] for u in UNITS), "company: units %s", sorted(units))
    need(sorted(staff) == [e[0] for e in EMPLOYEES], "company: employees %s", sorted(staff))
    for u in units.values():
        need(u["parent_code"] is None or u["parent_code"] in units, "unit %s: parent unknown", u["code"])
    for no, e in staff.items():
        need(e["unit_code"] in units, "%s: unit unknown", no)
        chain, at = [], no
        while at in staff and at not in chain:
            chain.append(at)
            at = staff[at]["superior_no"]
        need(at is None, "%s: the reporting line does not end (%s)", no, at)
        levels = [staff[c]["roles"][0] for c in chain[1:]]
        if "rep" in e["roles"]:
            need(levels[:1] == ["team_lead"], "%s: superior is no team lead", no)
            if e["unit_code"] == "EAST":
                need(levels == ["team_lead", "supervisor", "sales_manager", "general_manager"],
                     "%s: reporting line %s", no, levels)

    # customers
    def table(name, columns):
        with open(os.path.join(folder, name), encoding="utf-8", newline="") as f:
            rows = list(csv.reader(f, strict=True))
        need(rows[0] == columns, "%s: header differs", name)
        for i, r in enumerate(rows[1:], 2):
            need(len(r) == len(columns), "%s record %d: %d fields", name, i, len(r))
        return [dict(zip(columns, r)) for r in rows[1:] if len(r) == len(columns)]

    shops = table("customers.csv", CUSTOMER_COLUMNS)
    need(len(shops) == N_CUSTOMERS, "customers: %d rows", len(shops))
    unique("customer", [s["external_id"] for s in shops])
    unique("phone", [s["contact_phone"] for s in shops])
    unique("name in province", [(s["province_code"], s["name"]) for s in shops])
    formats = (("external_id", r"S-\d{6}"), ("contact_phone", r"1990000\d{4}"),
               ("contact_email", r"[a-z0-9.]+@example\.(com|org)"), ("city_code", r"\d{6}"),
               ("province_code", r"\d\d"), ("lat", r"\d+\.\d+"), ("lon", r"\d+\.\d+"),
               ("potential_rating", r"100|\d\d?"))
    choices = (("source", [v for _, v in SOURCES]), ("company_size", SIZES),
               ("relation_type", RELATIONS), ("industry", INDUSTRIES))
    for s in shops:
        x = s["external_id"]
        for column, form in formats:
            need(re.fullmatch(form, s[column]), "%s: %s is %s", x, column, s[column])
        for column, values in choices:
            need(s[column] in values, "%s: %s is %s", x, column, s[column])
        need(all(s.values()), "%s: empty field", x)
        need("rep" in staff.get(s["owner_no"], {"roles": ()})["roles"], "%s: owner %s", x, s["owner_no"])
        need(s["city_code"].startswith(s["province_code"]), "%s: city outside its province", x)

    # orders
    orders = table("orders.csv", ORDER_COLUMNS)
    need(20000 <= len(orders) <= 30000, "orders: %d rows", len(orders))
    unique("order", [o["external_id"] for o in orders])
    relation = {s["external_id"]: s["relation_type"] for s in shops}
    for o in orders:
        x = o["external_id"]
        need(re.fullmatch(r"O-\d{6}", x), "%s: form of the id", x)
        need(relation.get(o["customer_external_id"]) == "existing", "%s: customer %s is none", x,
             o["customer_external_id"])
        need(o["currency"] == "CNY", "%s: currency", x)
        need(o["kind"] in ("order", "cancellation"), "%s: kind", x)
        if re.fullmatch(r"-?[1-9]\d{0,17}", o["amount_minor"]):
            need((int(o["amount_minor"]) > 0) == (o["kind"] == "order"), "%s: sign", x)
        else:
            need(False, "%s: amount %s", x, o["amount_minor"])
        try:
            at = datetime.datetime.strptime(o["ordered_at"], "%Y-%m-%dT%H:%M:%S+08:00")
            need(WINDOW_FIRST <= at.date() <= WINDOW_LAST, "%s: outside the two years", x)
            need(9 <= at.hour < 18, "%s: outside business hours", x)
        except ValueError:
            need(False, "%s: time %s", x, o["ordered_at"])
    with_orders = len({o["customer_external_id"] for o in orders})
    need(0.70 * len(shops) <= with_orders <= 0.80 * len(shops), "orders: %d shops have some", with_orders)
    need(with_orders == sum(r == "existing" for r in relation.values()), "orders: an existing customer has none")
    if not faults:
        print("ok: %d customers, %d orders of %d of them, %d employees"
              % (len(shops), len(orders), with_orders, len(staff)))
    return faults


def main(args):
    if len(args) == 2 and args[0] == "--check":
        try:
            faults = check(args[1])
        except (OSError, ValueError, KeyError, IndexError, TypeError, csv.Error) as e:
            faults = ["%s: %s" % (type(e).__name__, e)]
        for line in faults[:50]:
            print(line, file=sys.stderr)
        return 1 if faults else 0
    if len(args) == 2 and not args[0].startswith("-"):
        make(*args)
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
