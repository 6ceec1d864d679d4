"""Random cron expressions with their next and previous instants, found in another way than scaler/cron finds them.

Nothing is parsed here: an expression is made together with a predicate for each of its items, every local time of a day
that satisfies them is listed, and zoneinfo says which instants it stands for. Output, one case a line, tab separated:

  zone  expression  rule (fire or skip)  instant  next  previous      seconds since the epoch, "-" for none found

usage: cron_reference.py COUNT SEED
"""
import calendar
import datetime
import random
import sys
import zoneinfo

UTC = datetime.timezone.utc
DAY = datetime.timedelta(days=1)
HORIZON_DAYS = 500
ZONES = [
    "Etc/UTC", "Europe/Rome", "Europe/Dublin", "America/New_York", "America/Sao_Paulo", "America/St_Johns",
    "America/Santiago", "Australia/Lord_Howe", "Australia/Adelaide", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tehran",
    "Africa/Casablanca", "Africa/Cairo", "Pacific/Apia", "Pacific/Chatham", "Pacific/Kiritimati", "Atlantic/Azores",
    "Antarctica/Troll", "Asia/Gaza",
]
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
DAYS = "sun mon tue wed thu fri sat".split()
BOUNDS = {"second": (0, 59), "minute": (0, 59), "hour": (0, 23), "month": (1, 12), "dom": (1, 31), "dow": (0, 6)}


def name_of(rng, field, value):
    names = {"month": [None] + MONTHS, "dow": DAYS + ["7"]}.get(field)
    if names is None or rng.random() < 0.5:
        return str(value % 7 if field == "dow" and rng.random() < 0.5 else value)
    text = names[value]
    return text.upper() if rng.random() < 0.2 else text


def plain_item(rng, field):
    """A value, a range (which may wrap), or one of them with a step: (text, values)."""
    low, high = BOUNDS[field]
    size = high - low + 1
    first = rng.randint(low, high)
    kind = rng.random()
    if kind < 0.45:
        return name_of(rng, field, 7 if field == "dow" and first == 0 and rng.random() < 0.3 else first), {first}
    step = rng.randint(1, max(2, size // 2)) if kind > 0.7 else 1
    suffix = "/%d" % step if step > 1 else ""
    if kind > 0.9:
        return "%d/%d" % (first, step), set(range(first, high + 1, step))
    if kind > 0.8:
        return "*/%d" % step, set(range(low, high + 1, step))
    length = rng.randint(1, size)
    values = [low + (first - low + i) % size for i in range(length)]
    text = "%s-%s%s" % (name_of(rng, field, first), name_of(rng, field, values[-1]), suffix)
    return text, set(values[::step])


def nearest_weekday(date, day):
    """The weekday nearest to a day of the date's month, searched outwards."""
    last = calendar.monthrange(date.year, date.month)[1]
    if day > last:
        return None
    for distance in (0, -1, 1, -2, 2):
        if 1 <= day + distance <= last and date.replace(day=day + distance).weekday() < 5:
            return date.replace(day=day + distance)
    return None


def special_day_of_month(rng):
    kind = rng.randint(0, 3)
    number = rng.randint(1, 31)
    if kind == 0:
        return "L", lambda d: (d + DAY).day == 1
    if kind == 1:
        back = rng.randint(0, 30)
        return "L-%d" % back, lambda d: (d + DAY * back).month == d.month and (d + DAY * (back + 1)).day == 1
    if kind == 2:
        return "%dW" % number, lambda d: nearest_weekday(d, number) == d
    return "LW", lambda d: d.weekday() < 5 and all(
        (d + DAY * i).month != d.month or (d + DAY * i).weekday() >= 5 for i in range(1, 4))


def special_day_of_week(rng):
    day = rng.randint(0, 6)
    text = name_of(rng, "dow", day)
    if rng.random() < 0.5:
        return text + "L", lambda d: d.isoweekday() % 7 == day and (d + 7 * DAY).month != d.month
    n = rng.randint(1, 5)
    return "%s#%d" % (text, n), lambda d: d.isoweekday() % 7 == day and len(
        [i for i in range(1, d.day + 1) if d.replace(day=i).isoweekday() % 7 == day]) == n


def value_field(rng, field, any_chance):
    low, high = BOUNDS[field]
    if rng.random() < any_chance:
        return rng.choice("*?"), set(range(low, high + 1)), True
    items = [plain_item(rng, field) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    star = any(text == "*/1" for text, _ in items)
    return ",".join(text for text, _ in items), set().union(*(values for _, values in items)), star


def day_field(rng, field, special):
    text, values, star = value_field(rng, field, 0.6)
    rules = []
    if not star and rng.random() < 0.4:
        extra, rule = special(rng)
        rules.append(rule)
        if rng.random() < 0.7:
            text, values = extra, set()
        else:
            text += "," + extra
    return text, values, rules, star


class Expression:
    def __init__(self, rng):
        self.seconds, second = {0}, None
        if rng.random() < 0.25:
            second, self.seconds = plain_item(rng, "second")
            if len(self.seconds) > 4:
                second, self.seconds = "17", {17}
        minute, self.minutes, _ = value_field(rng, "minute", 0.1)
        hour, self.hours, _ = value_field(rng, "hour", 0.2)
        month, self.months, _ = value_field(rng, "month", 0.7)
        dom, self.dom, self.dom_rules, dom_star = day_field(rng, "dom", special_day_of_month)
        dow, self.dow, self.dow_rules, dow_star = day_field(rng, "dow", special_day_of_week)
        self.both = dom_star or dow_star
        self.text = " ".join(([second] if second else []) + [minute, hour, dom, month, dow])

    def day_matches(self, date):
        if date.month not in self.months:
            return False
        dom = date.day in self.dom or any(rule(date) for rule in self.dom_rules)
        dow = date.isoweekday() % 7 in self.dow or any(rule(date) for rule in self.dow_rules)
        return (dom and dow) if self.both else (dom or dow)

    def times(self):
        return [datetime.time(h, m, s) for h in sorted(self.hours) for m in sorted(self.minutes)
                for s in sorted(self.seconds)]


def offset(zone, t):
    return datetime.datetime.fromtimestamp(t, zone).utcoffset().total_seconds()


def instants(zone, local, fire):
    """What a local time stands for: one instant, two, or, where the clock jumps over it, the jump or nothing."""
    found = set()
    for fold in (0, 1):
        t = int(local.replace(tzinfo=zone, fold=fold).timestamp())
        if datetime.datetime.fromtimestamp(t, zone).replace(tzinfo=None, fold=0) == local:
            found.add(t)
    if found or not fire:
        return found
    ends = sorted(int(local.replace(tzinfo=zone, fold=fold).timestamp()) for fold in (0, 1))
    low, high = ends[0] - 1, ends[1]
    before = offset(zone, low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset(zone, middle) == before else (low, middle)
    return {high}


def search(expression, zone, fire, t, direction):
    """The nearest instant after t, or at or before it."""
    start = datetime.datetime.fromtimestamp(t, zone).date()
    times = expression.times()
    best, days_since = None, 0
    for i in range(-2, HORIZON_DAYS):
        date = start + direction * i * DAY
        if best is not None:
            days_since += 1
            if days_since > 2:
                break
        if not expression.day_matches(date):
            continue
        for time in times:
            for instant in instants(zone, datetime.datetime.combine(date, time), fire):
                if direction > 0 and instant > t and (best is None or instant < best):
                    best = instant
                if direction < 0 and instant <= t and (best is None or instant > best):
                    best = instant
    return "-" if best is None else best


def transitions(zone, year):
    start = int(datetime.datetime(year, 1, 1, tzinfo=UTC).timestamp())
    hours = [start + 3600 * i for i in range(0, 366 * 24, 6)]
    return [b for a, b in zip(hours, hours[1:]) if offset(zone, a) != offset(zone, b)]


def case(rng):
    name = rng.choice(ZONES)
    zone = zoneinfo.ZoneInfo(name)
    year = rng.randint(1995, 2034)
    expression = Expression(rng)
    changes = transitions(zone, year) if rng.random() < 0.6 else []
    if changes:
        t = rng.choice(changes) + rng.randint(-36 * 3600, 36 * 3600)
    else:
        t = int(datetime.datetime(year, 1, 1, tzinfo=UTC).timestamp()) + rng.randint(0, 365 * 86400)
    fire = rng.random() < 0.7
    # Listing every minute of several days tells no more than a few of them.
    if len(expression.times()) > 300:
        return None
    return (name, expression.text, "fire" if fire else "skip", t, search(expression, zone, fire, t, 1),
            search(expression, zone, fire, t, -1))


def main():
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(seed)
    while count > 0:
        made = case(rng)
        if made is None:
            continue
        print("\t".join(map(str, made)))
        count -= 1


if __name__ == "__main__":
    main()
