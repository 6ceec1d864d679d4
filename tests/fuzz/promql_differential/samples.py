"""Random samples, written as the `load` blocks of promqltest.

A block has an interval of 100 ms, so that series can be scraped at any pace, with jitter. All times lie within HORIZON
seconds after the epoch.
"""

import math

HORIZON = 5400
TICK = 0.1
JOBS = ("api", "web")
CODES = ("200", "404", "500")
LE = ("0.1", "0.5", "1", "2.5", "+Inf")


def number(value):
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Inf" if value > 0 else "-Inf"
    return repr(float(value))


def labelled(name, labels):
    """A series in the notation of promqltest; names that need quotes get them."""
    parts = []
    plain = name.replace("_", "a").replace(":", "a").isalnum() and name.isascii()
    if not plain:
        parts.append('"%s"' % name)
    for key, value in labels.items():
        quoted = key if key.replace("_", "a").isalnum() and key.isascii() else '"%s"' % key
        parts.append('%s="%s"' % (quoted, value.replace("\\", "\\\\").replace('"', '\\"')))
    return (name if plain else "") + "{" + ",".join(parts) + "}"


class Writer:
    """Collects series; `times` and values come from the callers' random numbers."""

    def __init__(self, rng):
        self.rng = rng
        self.lines = ["load 100ms"]

    def times(self, interval, jitter=0.0, gaps=0.0, start=0.0, end=HORIZON):
        """Scrape times in seconds: every `interval`, give or take `jitter`, now and then with a gap."""
        at = start + self.rng.random() * interval
        while at < end:
            yield max(0, at + self.rng.uniform(-jitter, jitter))
            at += interval
            if self.rng.random() < gaps:
                at += self.rng.choice((interval, 4 * interval, 200, 400, 900))

    def series(self, name, labels, points):
        """`points` are (seconds, text of the item)."""
        items, last = [], -1
        for seconds, text in points:
            tick = round(seconds / TICK)
            if tick <= last:
                continue
            if tick - last > 1:
                items.append("_x%d" % (tick - last - 1))
            items.append(text)
            last = tick
        self.lines.append("  %s %s" % (labelled(name, labels), " ".join(items)))

    def text(self):
        return "\n".join(self.lines) + "\n"


def counters(w):
    rng = w.rng
    for job in JOBS:
        for instance in ("a:80", "b:80"):
            for code in CODES:
                if rng.random() < 0.15:
                    continue
                total, points = 0.0, []
                pace = rng.choice((0.1, 3, 1000))
                for at in w.times(15, 0.3, 0.01, start=rng.choice((0, 0, 700))):
                    total = 0.0 if rng.random() < 0.01 else total + rng.choice((0, 1, 2, pace, rng.random() * pace))
                    points.append((at, number(total)))
                w.series("requests_total", {"job": job, "instance": instance, "code": code}, points)
    for instance in ("a:80", "b:80", "c:80"):
        values = rng.choice(((0, 1), (0, 1, 2), (1,)))
        w.series("restarts_total", {"instance": instance},
                 [(at, number(at // 1200 * rng.choice(values))) for at in w.times(60)])
    w.series("aligned_total", {"instance": "a:80"}, [(at, number(at / 10)) for at in range(0, HORIZON, 30)])
    w.series("aligned_total", {"instance": "b:80"}, [(at, number(at % 600)) for at in range(0, HORIZON, 30)])


def gauges(w):
    rng = w.rng
    odd = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1e308, -1e308, 5e-324)
    for job in JOBS:
        for instance in ("a:80", "b:80", "c:80"):
            points = []
            for at in w.times(20, 1, 0.02):
                value = rng.choice(odd) if rng.random() < 0.03 else rng.gauss(20, 8)
                points.append((at, number(value)))
            w.series("temperature_celsius", {"job": job, "instance": instance}, points)
    for index in range(6):
        w.series("small", {"instance": "abc"[index % 3] + ":80", "kind": "xy"[index // 3]},
                 [(at, number(rng.randint(-2, 3))) for at in w.times(30, 0, 0.01)])
    for name, value in (("one", 1.0), ("negative", -7.5), ("big", 3e15)):
        w.series(name, {"instance": "a:80"}, [(at, number(value)) for at in w.times(60)])
    for index in range(3):
        base = rng.choice((0, 951782400, 1709164800, 4102444799, -86400 * 400))
        w.series("date_seconds", {"instance": "%s:80" % "abc"[index]},
                 [(at, number(base + at * 5000)) for at in w.times(45)])
    for index in range(4):
        # Comes and goes, with markers of its end.
        points, present = [], True
        for at in w.times(15):
            if rng.random() < 0.03:
                if present:
                    points.append((at, "stale"))
                present = not present
            elif present:
                points.append((at, number(rng.random() * 10)))
        w.series("flapping", {"instance": "%s:80" % "abcd"[index], "job": JOBS[index % 2]}, points)


def odd_names(w):
    rng = w.rng
    for pod in ("web-1", "web-2", "web-10", "é", "a b"):
        w.series("http.server.requests", {"k8s.pod.name": pod, "job": rng.choice(JOBS)},
                 [(at, number(rng.random() * 100)) for at in w.times(30)])
    w.series("no_labels", {}, [(at, number(at)) for at in w.times(30)])
    for version in ("1.9.0", "1.10.0", "1.2.0-rc1"):
        w.series("sorted", {"version": version, "quoted": 'x"y\\z'},
                 [(at, number(rng.randint(0, 2))) for at in w.times(60)])
    # Not also 07: the reference takes it for smaller than 7, and 7 for smaller than it.
    for value in ("", "0", "7", "70", "10"):
        w.series("sorted", {"number": value, "version": "2"} if value else {"version": "2"},
                 [(at, number(rng.randint(0, 9))) for at in w.times(60)])


def info_metrics(w):
    for job in JOBS:
        for instance in ("a:80", "b:80"):
            version = w.rng.choice(("1", "2"))
            w.series("target_info", {"job": job, "instance": instance, "version": version, "region": "eu"},
                     [(at, "1") for at in w.times(60, end=3000)])
            w.series("target_info", {"job": job, "instance": instance, "version": version + ".1", "region": "us"},
                     [(at, "1") for at in w.times(60, start=3100)])
            w.series("build_info", {"job": job, "instance": instance, "revision": w.rng.choice("xyz")},
                     [(at, "1") for at in w.times(60)])


def classic_histograms(w):
    rng = w.rng
    for instance in ("a:80", "b:80"):
        for path in ("/", "/x"):
            kind = rng.choice(("whole", "whole", "no infinity", "not monotonic", "bad bound"))
            times = list(w.times(15, 0.2, 0.005))
            counts, columns, total, sums = [0.0] * len(LE), [], 0.0, []
            for _ in times:
                if rng.random() < 0.005:
                    counts, total = [0.0] * len(LE), 0.0
                seen = [rng.choice((0, 0, 1, 5)) for _ in LE]
                counts = [count + sum(seen[:i + 1]) for i, count in enumerate(counts)]
                total += sum(seen) * 0.4
                columns.append(list(counts))
                sums.append(total)
            for i, bound in enumerate(LE):
                if kind == "no infinity" and bound == "+Inf":
                    continue
                if kind == "bad bound" and bound == "1":
                    bound = "one"
                shift = 3 if kind == "not monotonic" and i == 1 else 0
                w.series("latency_seconds_bucket", {"instance": instance, "path": path, "le": bound},
                         [(at, number(row[i] + shift)) for at, row in zip(times, columns)])
            labels = {"instance": instance, "path": path}
            w.series("latency_seconds_sum", labels, [(at, number(value)) for at, value in zip(times, sums)])
            w.series("latency_seconds_count", labels, [(at, number(row[-1])) for at, row in zip(times, columns)])


def literal(schema, total, positive, offset=0, negative=(), negative_offset=0, zero=0.0, width=0.0, hint="", bounds=()):
    def numbers(values):
        return " ".join(number(v) for v in values)

    count = zero + sum(positive) + sum(negative)
    parts = ["schema:%d" % schema, "count:%s" % number(count), "sum:%s" % number(total)]
    if zero or width:
        parts += ["z_bucket:%s" % number(zero), "z_bucket_w:%s" % number(width)]
    if positive:
        parts += ["offset:%d" % offset, "buckets:[%s]" % numbers(positive)]
    if negative:
        parts += ["n_offset:%d" % negative_offset, "n_buckets:[%s]" % numbers(negative)]
    if bounds:
        parts.append("custom_values:[%s]" % numbers(bounds))
    if hint:
        parts.append("counter_reset_hint:" + hint)
    return "{{%s}}" % " ".join(parts)


class NativeCounter:
    """A native histogram that counts up, resets now and then, and may change its layout when it does."""

    def __init__(self, rng, custom, whole, negative):
        self.rng, self.custom, self.whole, self.with_negative = rng, custom, whole, negative
        self.reset()

    def reset(self):
        rng = self.rng
        self.bounds = rng.choice(((1, 2, 5, 10), (1, 5), (0.5, 1, 2, 5), (-1, 0, 1))) if self.custom else ()
        self.schema = -53 if self.custom else rng.choice((0, 1, 2, 3, -1))
        self.offset = 0 if self.custom else rng.randint(-3, 2)
        size = len(self.bounds) + 1 if self.custom else rng.randint(2, 6)
        self.positive = [0.0] * size
        self.negative = [0.0] * rng.randint(1, 4) if self.with_negative and not self.custom else []
        self.zero, self.width = 0.0, 0.0 if self.custom else rng.choice((0.001, 0.001, 0.01, 0.0))
        self.total = 0.0

    def observe(self):
        rng = self.rng
        for buckets in (self.positive, self.negative):
            for i in range(len(buckets)):
                if rng.random() < 0.4:
                    buckets[i] += rng.randint(1, 4) if self.whole else rng.random() * 3
        if not self.custom and rng.random() < 0.3:
            self.zero += 1
        self.total += rng.random() * 5 - (2 if self.with_negative else 0)

    def literal(self, hint=""):
        return literal(self.schema, self.total, self.positive, self.offset, self.negative, 0, self.zero, self.width,
                       hint, self.bounds)


def native_histograms(w):
    rng = w.rng
    for name, custom, hint in (("native_seconds", False, ""), ("custom_seconds", True, ""),
                               ("native_gauge", False, "gauge"), ("custom_gauge", True, "gauge")):
        for index in range(4):
            counter = NativeCounter(rng, custom, index % 2 == 0, index == 3)
            points = []
            for at in w.times(20, 0.2, 0.01):
                if rng.random() < (0.08 if hint else 0.008):
                    counter.reset()
                if rng.random() < 0.004 and points and not points[-1][1] == "stale":
                    points.append((at, "stale"))
                    continue
                counter.observe()
                points.append((at, counter.literal(hint)))
            w.series(name, {"instance": "ab"[index // 2] + ":80", "job": JOBS[index % 2]}, points)
    # Floats and histograms in turn.
    for index in range(3):
        counter, points, native = NativeCounter(rng, index == 2, True, False), [], True
        for at in w.times(20, 0, 0.01):
            native = native if rng.random() > 0.05 else not native
            counter.observe()
            points.append((at, counter.literal() if native else number(rng.random() * 50)))
        w.series("mixed", {"instance": "abc"[index] + ":80"}, points)
    # The sum of histograms with NaN or infinite observations is no number.
    counter, points = NativeCounter(rng, False, True, False), []
    for at in w.times(60):
        counter.observe()
        counter.total = rng.choice((math.nan, math.inf, 5.0, counter.total))
        points.append((at, counter.literal("gauge")))
    w.series("native_odd", {"instance": "a:80"}, points)
    w.series("native_empty", {"instance": "a:80"}, [(at, literal(0, 0, ())) for at in w.times(60)])


def generate(rng):
    writer = Writer(rng)
    for family in (counters, gauges, odd_names, info_metrics, classic_histograms, native_histograms):
        family(writer)
    return writer.text()
