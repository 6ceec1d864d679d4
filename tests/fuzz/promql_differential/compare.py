"""Whether two answers of the HTTP API are the same.

Tolerances, and why:

- Floats may differ by TOLERANCE of the larger one: sums are added up in another order. Where both are below TINY of the
  largest number of the whole answer, they count as equal: what is left when large numbers cancel out.
- Buckets of native histograms are compared by their bounds with the same tolerance, relative to the largest count. So are
  the numbers that count_values() makes labels of.
- Vectors and matrices are compared as sets of series; sort() and its like also by the sequence of the values (or, of
  sort_by_label(), of the series).
- Error texts are free; that there is an error, and its type, is not. Of warnings and infos the text and the position
  count. The API shows ten of each and a line that counts the others: then the count must be the same.
"""

import math
import re

TOLERANCE = 1e-9
TINY = 1e-12


def close(a, b, scale):
    if a == b or math.isnan(a) and math.isnan(b):
        return True
    if not (math.isfinite(a) and math.isfinite(b)):
        return False
    return abs(a - b) <= max(TOLERANCE * max(abs(a), abs(b)), TINY * scale)


def magnitude(values):
    return max((abs(v) for v in values if math.isfinite(v)), default=0.0)


DIGITS = re.compile(r"-?[0-9][0-9.]*(?:e[+-][0-9]+)?")


def label_value(text):
    if not text.startswith("{count:") and not (len(text) > 12 and DIGITS.fullmatch(text)):
        return text
    return DIGITS.sub(lambda number: "%.9g" % float(number.group()), text)


def labels_of(series):
    return tuple(sorted((name, label_value(value)) for name, value in series["metric"].items()))


def points_of(series):
    """{time: float or histogram} of an element of a vector or matrix."""
    points = {}
    for member in ("value", "histogram"):
        if member in series:
            points[(series[member][0], member)] = series[member][1]
    for member in ("values", "histograms"):
        for at, value in series.get(member, ()):
            points[(at, member.rstrip("s"))] = value
    return points


def floats_in(data):
    kind, result = data["resultType"], data["result"]
    if kind == "string":
        return
    if kind == "scalar":
        yield float(result[1])
        return
    for series in result:
        for value in points_of(series).values():
            if isinstance(value, dict):
                yield float(value["count"])
                yield float(value["sum"])
            else:
                yield float(value)


def counts_of(histogram):
    """{bounds: count} of the buckets. Bounds are powers, whose last digit depends on the library of mathematics."""
    return {(ends, "%.12g" % float(lower), "%.12g" % float(upper)): float(count)
            for ends, lower, upper, count in histogram.get("buckets", ())}


def same_histogram(ours, theirs, scale):
    counts = [counts_of(ours), counts_of(theirs)]
    largest = magnitude(list(counts[0].values()) + list(counts[1].values()) + [float(ours["count"]), scale])
    if not close(float(ours["count"]), float(theirs["count"]), largest):
        return "count %s, theirs %s" % (ours["count"], theirs["count"])
    if not close(float(ours["sum"]), float(theirs["sum"]), max(scale, largest)):
        return "sum %s, theirs %s" % (ours["sum"], theirs["sum"])
    for bounds in sorted(set(counts[0]) | set(counts[1])):
        if not close(counts[0].get(bounds, 0.0), counts[1].get(bounds, 0.0), largest):
            return "bucket %s holds %s, theirs %s" % (bounds, counts[0].get(bounds), counts[1].get(bounds))
    return ""


def same_points(ours, theirs, scale):
    for key in sorted(set(ours) | set(theirs)):
        if key not in ours or key not in theirs:
            return "%s at %s: ours %s, theirs %s" % (key[1], key[0], ours.get(key), theirs.get(key))
        if key[1] == "histogram":
            difference = same_histogram(ours[key], theirs[key], scale)
            if difference:
                return "histogram at %s: %s" % (key[0], difference)
        elif not close(float(ours[key]), float(theirs[key]), scale):
            return "at %s: ours %s, theirs %s" % (key[0], ours[key], theirs[key])
    return ""


def same_series(ours, theirs, scale):
    left, right = ({tuple(sorted(series["metric"].items())): points_of(series) for series in side}
                   for side in (ours, theirs))
    if left.keys() != right.keys():
        left, right = ({labels_of(series): points_of(series) for series in side} for side in (ours, theirs))
    if len(left) != len(ours) or len(right) != len(theirs):
        return "a label set occurs twice"
    for labels in sorted(set(left) | set(right)):
        if labels not in left or labels not in right:
            return "only %s: %s" % ("theirs" if labels in right else "ours", dict(labels))
        difference = same_points(left[labels], right[labels], scale)
        if difference:
            return "%s %s" % (dict(labels), difference)
    return ""


def same_order(ours, theirs, scale, by_labels):
    if by_labels:
        left, right = ([labels_of(series) for series in answer] for answer in (ours, theirs))
        return "" if left == right else "the order of the series"
    for a, b in zip(ours, theirs):
        values = [float(series["value"][1]) if "value" in series else math.nan for series in (a, b)]
        if not close(values[0], values[1], scale):
            return "the order of the values"
    return ""


def same_data(ours, theirs, order):
    if ours["resultType"] != theirs["resultType"]:
        return "the type: ours %s, theirs %s" % (ours["resultType"], theirs["resultType"])
    scale = magnitude(list(floats_in(ours)) + list(floats_in(theirs)))
    if ours["resultType"] in ("scalar", "string"):
        a, b = ours["result"], theirs["result"]
        same = a[0] == b[0] and (a[1] == b[1] or ours["resultType"] == "scalar" and close(float(a[1]), float(b[1]), 0))
        return "" if same else "ours %s, theirs %s" % (a, b)
    difference = same_series(ours["result"], theirs["result"], scale)
    if not difference and order and ours["resultType"] == "vector":
        difference = same_order(ours["result"], theirs["result"], scale, "label" in order)
    return difference


def annotations(answer, member):
    texts = answer.get(member, [])
    return sorted(texts) if len(texts) <= 10 else [str(len(texts)), texts[10]]


# In remarks, floats are as in results. How far buckets were from being monotonic depends on the order of additions, and in
# how many samples the reference doubles whenever it joins remarks.
FREE = re.compile(r"max diff of [0-9.e+-]+|over [0-9]+ samples")


def remark(text):
    return DIGITS.sub(lambda n: n.group() if len(n.group()) < 13 else "%.9g" % float(n.group()), FREE.sub("", text))


def difference(ours, theirs, order=""):
    """"" when the answers, each a status and a document, are the same; else what differs."""
    (our_status, our), (their_status, their) = ours, theirs
    if our["status"] != their["status"] or our_status != their_status:
        return "ours %d %s, theirs %d %s" % (our_status, our.get("error", "succeeds"), their_status,
                                             their.get("error", "succeeds"))
    if our["status"] == "error":
        return "" if our["errorType"] == their["errorType"] else "error types: ours %s, theirs %s" % (our, their)
    found = same_data(our["data"], their["data"], order)
    for member in ("warnings", "infos"):
        left, right = ([remark(text) for text in annotations(answer, member)] for answer in (our, their))
        if not found and left != right:
            found = "%s: ours %s, theirs %s" % (member, left, right)
    return found
