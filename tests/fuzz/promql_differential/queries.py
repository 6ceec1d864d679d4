"""Random well-typed PromQL, as trees that print themselves and can be made smaller."""

import re

VECTOR, SCALAR, MATRIX, STRING = "vector", "scalar", "matrix", "string"

MATH = ("abs ceil floor exp ln log2 log10 sqrt sgn acos acosh asin asinh atan atanh cos cosh sin sinh tan tanh deg "
        "rad").split()
DATES = "minute hour day_of_week day_of_month day_of_year days_in_month month year".split()
OVER_TIME = ("rate increase irate delta idelta deriv changes resets absent_over_time present_over_time avg_over_time "
             "min_over_time max_over_time sum_over_time count_over_time stddev_over_time stdvar_over_time "
             "last_over_time mad_over_time ts_of_min_over_time ts_of_max_over_time ts_of_last_over_time").split()
OF_HISTOGRAMS = "histogram_count histogram_sum histogram_avg histogram_stddev histogram_stdvar".split()
AGGREGATIONS = "sum avg min max group count stddev stdvar".split()
ARITHMETIC = "+ - * / % ^ atan2".split()
COMPARISONS = "== != < > <= >=".split()
SETS = "and or unless".split()

FLOATS = ("requests_total", "restarts_total", "aligned_total", "temperature_celsius", "small", "one", "negative", "big",
          "date_seconds", "flapping", "no_labels", "sorted", "target_info", "build_info", "latency_seconds_sum",
          "latency_seconds_bucket", "http.server.requests", "missing")
NATIVE = ("native_seconds", "custom_seconds", "native_gauge", "custom_gauge", "mixed", "native_odd", "native_empty")
LABELS = ("instance", "job", "code", "kind", "path", "le", "version", "region", "k8s.pod.name", "__name__", "absent",
          "number")
MATCHERS = ('instance="a:80"', 'instance=~"a.*|b:80"', 'instance!="b:80"', 'instance!~"c.+"', 'job="api"', 'job=~".*"',
            'job=~".+"', 'code=~"2..|5.."', 'kind="x"', 'le="+Inf"', 'missing=""', 'absent!=""', 'path="/"',
            'job=~"(?i)API"', 'instance=~""')
DURATIONS = "1s 15s 40s 1m 90s 2m 5m 10m 30m 1h 1m30s 100ms 300 2*1m (1m+30s)".split()
OFFSETS = "15s 1m 5m -1m -5m 17m 1h 0s -10m -(1m+30s)".split()
# Nothing subnormal: the powers of such numbers are wrong in the second digit in the reference.
NUMBERS = ("0 1 2 3 -1 -2 0.5 0.1 0.9 0.25 10 100 1e3 1.5 NaN Inf -Inf 0x1f 5m 1e308 1e-300 -0.5 600 0.99 1e17").split()


class Node:
    """A typed expression: its text is that of `parts`, strings and nodes."""

    def __init__(self, kind, *parts, what=""):
        self.kind = kind
        self.parts = list(parts)
        self.what = what

    def __str__(self):
        return "".join(str(part) for part in self.parts)

    def children(self):
        return [part for part in self.parts if isinstance(part, Node)]

    def walk(self):
        yield self
        for child in self.children():
            yield from child.walk()

    def replaced(self, old, new):
        """The same tree with the node `old` exchanged for `new`."""
        if self is old:
            return new
        copy = Node(self.kind, what=self.what)
        copy.parts = [part.replaced(old, new) if isinstance(part, Node) else part for part in self.parts]
        return copy


def quote_label(name):
    return name if name.replace("_", "a").isalnum() else '"%s"' % name


class Generator:
    """With `newest`, also what Prometheus has had since 3.5."""

    def __init__(self, rng, newest=True):
        self.rng = rng
        self.newest = newest

    def query(self):
        """An expression of any type, mostly instant vectors."""
        draw, depth = self.rng.random(), self.rng.choice((1, 2, 2, 3, 3, 4))
        if draw < 0.03:
            return self.scalar(depth)
        if draw < 0.06:
            return self.matrix(depth)
        if draw < 0.065:
            return Node(STRING, self.string(("a", "\\n")))
        return self.vector(depth)

    # Leaves.

    def string(self, texts):
        return '"%s"' % self.rng.choice(texts)

    def modifiers(self):
        rng, offset, at = self.rng, "", ""
        if rng.random() < 0.15:
            offset = " offset " + rng.choice(OFFSETS if self.newest else OFFSETS[:-1])
        if rng.random() < 0.1:
            at = " @ " + rng.choice(("start()", "end()", "1000", "2345.678", "-5", "5000"))
        return Node("modifiers", offset + at if rng.random() < 0.5 else at + offset)

    def selector_text(self, family=None):
        rng = self.rng
        if family is None:
            family = FLOATS if rng.random() < 0.7 else NATIVE
        name = rng.choice(family)
        matchers = [rng.choice(MATCHERS) for _ in range(rng.choice((0, 0, 0, 1, 1, 2)))]
        if rng.random() < 0.02:
            return '{__name__=~"%s"%s}' % (rng.choice(("small|one", "re.*", "native.*", "temp.+|mixed", "latency.*")),
                                           "".join("," + m for m in matchers))
        if "." in name:
            return '{"%s"%s}' % (name, "".join("," + m for m in matchers))
        return name + ("{%s}" % ",".join(matchers) if matchers else "")

    def selector(self, family=None):
        return Node(VECTOR, self.selector_text(family), self.modifiers(), what="selector")

    def number(self):
        return Node(SCALAR, self.rng.choice(NUMBERS))

    def duration(self):
        return self.rng.choice(DURATIONS)

    # Types.

    def scalar(self, depth):
        rng = self.rng
        if depth <= 0 or rng.random() < 0.6:
            return self.number()
        draw = rng.random()
        if draw < 0.35:
            return Node(SCALAR, "scalar(", self.vector(depth - 1), ")")
        if draw < 0.5:
            newer = ("start()", "end()", "step()", "range()") if self.newest else ()
            return Node(SCALAR, rng.choice(("time()", "pi()") + newer))
        if draw < 0.7:
            return Node(SCALAR, "-(", self.scalar(depth - 1), ")")
        if draw < 0.85:
            return Node(SCALAR, "(", self.scalar(depth - 1), " %s bool " % rng.choice(COMPARISONS),
                        self.scalar(depth - 1), ")")
        return Node(SCALAR, "(", self.scalar(depth - 1), " %s " % rng.choice(ARITHMETIC), self.scalar(depth - 1), ")")

    def matrix(self, depth, family=None):
        rng = self.rng
        if depth <= 0 or rng.random() < 0.7:
            extension = rng.choice((" anchored", " smoothed")) if self.newest and rng.random() < 0.12 else ""
            return Node(MATRIX, self.selector_text(family), "[%s]" % self.duration(), Node("modifiers", extension),
                        self.modifiers(), what="range selector")
        step = rng.choice(("", "", "15s", "1m", "37s", "2m", "5m"))
        return Node(MATRIX, "(", self.vector(depth - 1), ")[%s:%s]" % (self.duration(), step), self.modifiers(),
                    what="subquery")

    def vector(self, depth):
        rng = self.rng
        if depth <= 0:
            return self.selector()
        makers = ((10, self.selector_at), (14, self.over_time), (4, self.over_time_with_number), (6, self.math),
                  (6, self.with_scalar_arguments), (14, self.aggregation), (9, self.aggregation_with_parameter),
                  (16, self.binary), (8, self.binary_with_scalar), (5, self.histogram), (7, self.quantile_of_histogram),
                  (5, self.labels), (4, self.sorted), (4, self.dates), (3, self.absent), (3, self.vector_of),
                  (3, self.negated), (3, self.info))
        return rng.choices([maker for _, maker in makers], [weight for weight, _ in makers])[0](depth)

    def selector_at(self, _depth):
        return self.selector()

    def over_time(self, depth):
        family = FLOATS[:4] + NATIVE if self.rng.random() < 0.6 else None
        names = OVER_TIME + (["first_over_time", "ts_of_first_over_time"] if self.newest else [])
        return Node(VECTOR, self.rng.choice(names) + "(", self.matrix(depth - 1, family), ")")

    def over_time_with_number(self, depth):
        name = self.rng.choice(("quantile_over_time", "predict_linear", "double_exponential_smoothing"))
        matrix, number = self.matrix(depth - 1), self.scalar(depth - 1)
        if name == "quantile_over_time":
            return Node(VECTOR, name + "(", number, ", ", matrix, ")")
        if name == "predict_linear":
            return Node(VECTOR, name + "(", matrix, ", ", number, ")")
        factor = self.rng.choice(("0.3", "0.9", "0.5"))
        return Node(VECTOR, name + "(", matrix, ", %s, " % factor,
                    number if self.rng.random() < 0.2 else Node(SCALAR, "0.6"), ")")

    def math(self, depth):
        return Node(VECTOR, self.rng.choice(MATH) + "(", self.vector(depth - 1), ")")

    def negated(self, depth):
        return Node(VECTOR, self.rng.choice("-+") + "(", self.vector(depth - 1), ")")

    def with_scalar_arguments(self, depth):
        name = self.rng.choice(("clamp", "clamp_min", "clamp_max", "round", "round", "timestamp", "timestamp"))
        inner = self.selector() if name == "timestamp" and self.rng.random() < 0.7 else self.vector(depth - 1)
        if name == "timestamp" or name == "round" and self.rng.random() < 0.4:
            return Node(VECTOR, name + "(", inner, ")")
        if name == "clamp":
            return Node(VECTOR, "clamp(", inner, ", ", self.scalar(depth - 1), ", ", self.scalar(depth - 1), ")")
        return Node(VECTOR, name + "(", inner, ", ", self.scalar(depth - 1), ")")

    def label_list(self, most=3):
        names = self.rng.sample(LABELS, self.rng.randint(0, most))
        return ", ".join(quote_label(name) for name in names)

    def grouping(self):
        draw = self.rng.random()
        if draw < 0.25:
            return ""
        return "%s(%s) " % ("by " if draw < 0.7 else "without ", self.label_list())

    def aggregation(self, depth):
        return Node(VECTOR, "%s %s(" % (self.rng.choice(AGGREGATIONS), self.grouping()), self.vector(depth - 1), ")",
                    what="aggregation")

    def aggregation_with_parameter(self, depth):
        name = self.rng.choice("topk bottomk topk bottomk quantile quantile limitk limit_ratio count_values".split())
        if name == "count_values":
            label = self.string(("value", "instance", "job", "__name__", "bad-label", "é"))
            return Node(VECTOR, "%s %s(%s, " % (name, self.grouping(), label), self.vector(depth - 1), ")", what=name)
        numbers = {"limit_ratio": ("0.5", "-0.5", "0.1", "-0.9", "1", "0", "1.5", "-2", "NaN"),
                   "quantile": ("0.5", "0.9", "0", "1", "-1", "2", "NaN", "0.25")}
        parameter = Node(SCALAR, self.rng.choice(numbers.get(name, ("1", "2", "3", "5", "0", "-1", "1.9", "100"))))
        if self.rng.random() < 0.1:
            parameter = self.scalar(depth - 1)
        return Node(VECTOR, "%s %s(" % (name, self.grouping()), parameter, ", ", self.vector(depth - 1), ")", what=name)

    def matching(self, operator):
        rng = self.rng
        if rng.random() < 0.3:
            return ""
        text = "%s(%s) " % (rng.choice(("on", "ignoring")), self.label_list(2))
        if operator not in SETS and rng.random() < 0.35:
            text += rng.choice(("group_left", "group_right"))
            if rng.random() < 0.6:
                text += "(%s)" % self.label_list(2)
            text += " "
        if operator not in SETS and self.newest and rng.random() < 0.15:
            text += rng.choice(("fill(0) ", "fill_left(1) ", "fill_right(-2) ", "fill_left(3) fill_right(4) "))
        return text

    def binary(self, depth):
        rng = self.rng
        operator = rng.choice(rng.choice((ARITHMETIC, COMPARISONS, SETS)))
        left = self.vector(depth - 1)
        draw = rng.random()
        if draw < 0.3:
            right = left
        elif draw < 0.6 and left.what == "selector":
            right = self.selector((str(left.parts[0]).split("{")[0],)) if "{\"" not in str(left) else self.selector()
            right = right if str(right).lstrip("{")[:1].isalpha() else self.selector()
        else:
            right = self.vector(depth - 1)
        wanted = "bool " if operator in COMPARISONS and rng.random() < 0.3 else ""
        return Node(VECTOR, "(", left, " %s %s%s" % (operator, wanted, self.matching(operator)), right, ")",
                    what="binary")

    def binary_with_scalar(self, depth):
        rng = self.rng
        operator = rng.choice(rng.choice((ARITHMETIC, COMPARISONS)))
        wanted = "bool " if operator in COMPARISONS and rng.random() < 0.3 else ""
        if self.newest and rng.random() < 0.15:
            return Node(VECTOR, "(", self.native(depth - 1), " %s " % rng.choice(("</", ">/")), self.scalar(depth - 1), ")")
        sides = [self.vector(depth - 1), self.scalar(depth - 1)]
        rng.shuffle(sides)
        return Node(VECTOR, "(", sides[0], " %s %s" % (operator, wanted), sides[1], ")")

    def native(self, depth):
        """Something that gives native histograms."""
        rng = self.rng
        draw = rng.random()
        if depth <= 0 or draw < 0.3:
            return self.selector(NATIVE)
        if draw < 0.7:
            name = rng.choice(("rate", "increase", "delta", "irate", "idelta", "sum_over_time", "avg_over_time",
                               "last_over_time"))
            return Node(VECTOR, name + "(", self.matrix(depth - 1, NATIVE), ")")
        if draw < 0.9:
            return Node(VECTOR, "%s %s(" % (rng.choice(("sum", "avg")), self.grouping()), self.native(depth - 1), ")")
        return self.vector(depth - 1)

    def histogram(self, depth):
        return Node(VECTOR, self.rng.choice(OF_HISTOGRAMS) + "(", self.native(depth - 1), ")")

    def quantile_of_histogram(self, depth):
        rng = self.rng
        if rng.random() < 0.6:
            inner = self.native(depth - 1)
        elif rng.random() < 0.5:
            inner = Node(VECTOR, "rate(latency_seconds_bucket[%s]" % self.duration(), self.modifiers(), ")")
        else:
            inner = Node(VECTOR, "sum by (le) (latency_seconds_bucket", self.modifiers(), ")")
        if self.newest and rng.random() < 0.15:
            return Node(VECTOR, "histogram_quantiles(", inner, ", %s, " % self.string(("q", "le", "job")), self.number(),
                        ", ", self.scalar(depth - 2), ")")
        if rng.random() < 0.6:
            return Node(VECTOR, "histogram_quantile(", self.scalar(depth - 2), ", ", inner, ")")
        return Node(VECTOR, "histogram_fraction(", self.scalar(depth - 2), ", ", self.scalar(depth - 2), ", ", inner,
                    ")")

    def labels(self, depth):
        rng = self.rng
        inner, target = self.vector(depth - 1), self.string(("new", "instance", "job", "__name__", "a.b", "", "le"))
        source = self.string(("instance", "job", "__name__", "missing", "k8s.pod.name"))
        if rng.random() < 0.35:
            sources = "".join(", " + self.string(("instance", "job", "code", "missing")) for _ in range(rng.randint(0, 3)))
            return Node(VECTOR, "label_join(", inner, ", %s, %s%s)" % (target, self.string(("-", "", "é")), sources))
        pattern = self.string(("(.*):(.*)", "(?P<one>.)(.*)", "", ".*", "a(.*)", "(", "x|(b).*"))
        with_what = self.string(("$1", "$2-$1", "${one}x", "", "$0", "$$", "plain", "${1}${3}", "$one"))
        return Node(VECTOR, "label_replace(", inner, ", %s, %s, %s, %s)" % (target, with_what, source, pattern))

    def sorted(self, depth):
        name = self.rng.choice(("sort", "sort_desc", "sort_by_label", "sort_by_label_desc"))
        names = ""
        if "label" in name:
            names = "".join(", " + self.string(("instance", "version", "number", "k8s.pod.name", "missing"))
                            for _ in range(self.rng.randint(0, 2)))
        return Node(VECTOR, name + "(", self.vector(depth - 1), names + ")", what=name)

    def dates(self, depth):
        rng = self.rng
        if rng.random() < 0.2:
            return Node(VECTOR, rng.choice(DATES) + "()")
        inner = self.selector(("date_seconds",)) if rng.random() < 0.6 else self.vector(depth - 1)
        return Node(VECTOR, rng.choice(DATES) + "(", inner, ")")

    def absent(self, depth):
        inner = self.selector() if self.rng.random() < 0.6 else self.vector(depth - 1)
        return Node(VECTOR, "absent(", inner, ")")

    def vector_of(self, depth):
        return Node(VECTOR, "vector(", self.scalar(depth - 1), ")")

    def info(self, depth):
        rng = self.rng
        selector = rng.choice(("", "", ', {version=~".+"}', ', {__name__="build_info"}', ', {region="eu"}',
                               ', {__name__=~".+_info"}', ', {revision!=""}'))
        inner = self.selector() if rng.random() < 0.6 else self.vector(depth - 1)
        return Node(VECTOR, "info(", inner, selector + ")", what="info")


# What gives floats that depend on how a library rounds, or on the order of additions, and has no name.
INEXACT = re.compile(r"^(%s)\b|^\(" % "|".join(MATH + OF_HISTOGRAMS + AGGREGATIONS + OVER_TIME + [
    "histogram_quantile", "histogram_fraction", "histogram_quantiles", "quantile", "quantile_over_time", "predict_linear",
    "double_exponential_smoothing"]))


def nudged(root):
    """The tree with one inexact part changed by a few parts in 10^16, for each such part."""
    for node in root.walk():
        if node.kind == VECTOR and node is not root and INEXACT.match(str(node)):
            for factor in ("1.0000000000000009", "0.9999999999999991"):
                yield root.replaced(node, Node(VECTOR, "(", node, " * %s)" % factor, what="nudged"))
        if node.kind == SCALAR and node is not root and str(node).startswith(("(", "scalar")):
            yield root.replaced(node, Node(SCALAR, "(", node, " * 1.0000000000000009)"))


def smaller(root):
    """Trees that are smaller than `root` in one place, the smallest first."""
    found = []
    for node in root.walk():
        for inner in node.walk():
            if inner is not node and inner.kind == node.kind:
                found.append(root.replaced(node, inner))
        if node.kind == "modifiers" and str(node):
            found.append(root.replaced(node, Node("modifiers", "")))
        if node.kind == SCALAR and str(node) != "1":
            found.append(root.replaced(node, Node(SCALAR, "1")))
        if node.kind == VECTOR and node is not root and len(str(node)) > 6:
            for simple in ("small", "one", "native_seconds"):
                found.append(root.replaced(node, Node(VECTOR, simple, what="selector")))
    text = str(root)
    return sorted((tree for tree in found if len(str(tree)) < len(text)), key=lambda tree: len(str(tree)))
