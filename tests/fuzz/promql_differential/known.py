"""What the reference answers otherwise than we do on purpose, by name, with the reason.

Tidewright follows Prometheus 3.14. A difference counts as known only where the query and both answers fit the description; nothing
else is left out. Those of OLDER concern references before 3.14 alone.
"""

import json
import re

import compare
import servers


def stripped(answer, strip):
    """A copy of an answer with `strip` applied to the labels of each series."""
    status, document = answer
    if document["status"] != "success" or document["data"]["resultType"] not in ("vector", "matrix"):
        return answer
    data = dict(document["data"])
    data["result"] = [dict(series, metric=strip(series["metric"])) for series in data["result"]]
    return status, dict(document, data=data)


def without_name(labels):
    return {name: value for name, value in labels.items() if name != "__name__"}


def info_revives_names(question, ours, theirs):
    if question.mode != servers.AT_THE_END or "info(" not in str(question.tree):
        return False
    if "same labelset" in ours[1].get("error", "") and theirs[0] == 200:
        return True
    return not compare.difference(stripped(ours, without_name), stripped(theirs, without_name))


def info_ignores_shifts(question, _ours, _theirs):
    text = str(question.tree)
    return "info(" in text and (" offset " in text or " @ " in text)


def size_of(answer):
    data = answer[1].get("data", {})
    return len(data["result"]) if data.get("resultType") in ("vector", "matrix") else -1


def order_of_counts(question, ours, theirs):
    text = str(question.tree)
    if not any(word in text for word in ("count_values", "info(", "limit_ratio")) or not ours[0] == theirs[0] == 200:
        return False
    # Sums remark on histograms that do not fit together, unless a float came before them.
    return any(word in text for word in ("limitk", "topk", "bottomk")) or same_but_remarks(ours, theirs, "vector contains a mix of")


def remarks(answer, word):
    return {text for member in ("infos", "warnings") for text in answer[1].get(member, []) if word in text}


def same_but_remarks(ours, theirs, *words):
    """Whether nothing differs but annotations with one of the words."""
    def plain(answer):
        status, document = answer
        kept = {member: [text for text in document.get(member, []) if not any(word in text for word in words)]
                for member in ("infos", "warnings")}
        return status, dict(document, **kept)

    return not compare.difference(plain(ours), plain(theirs))


def fails_on_nothing(_question, _ours, theirs):
    return "index out of range" in theirs[1].get("error", "")


def text_of_custom_nan(question, ours, theirs):
    return "count_values" in str(question.tree) and ours[0] == 200 \
        and theirs[1].get("error", "") == "histograms with custom buckets have no zero bucket"


SCALARS = re.compile(r"(predict_linear|quantile_over_time|double_exponential_smoothing)\(")


def pinned_subquery(question, _ours, theirs):
    text = str(question.tree)
    return theirs[0] == 200 and " @ " in text and bool(SCALARS.search(text)) \
        and any(node.what == "subquery" for node in question.tree.walk())


def pinned_timestamp(question, ours, theirs):
    text = str(question.tree)
    return ours[0] == theirs[0] == 200 and bool(re.search(r"timestamp\(.* @ .* offset |timestamp\(.* offset .* @ ", text))


def values_by_time(answer):
    values = {}
    for series in answer[1]["data"]["result"]:
        for (at, kind), value in compare.points_of(series).items():
            values.setdefault((at, kind), []).append(json.dumps(value))
    return {key: sorted(found) for key, found in values.items()}


def ties_over_a_range(question, ours, theirs):
    text = str(question.tree)
    return question.step > 0 and ours[0] == theirs[0] == 200 and re.search("(topk|bottomk|limitk) ", text) is not None \
        and (values_by_time(ours) == values_by_time(theirs) or size_of(ours) == size_of(theirs))


def absent_from_everywhere(question, ours, theirs):
    return ours[0] == theirs[0] == 200 and values_by_time(ours) == values_by_time(theirs) \
        and re.search(r"absent(_over_time)?\([^)]*![^)]*( @ | offset )", str(question.tree)) is not None


def repeated_by_fill(question, ours, theirs):
    return question.mode == servers.AT_THE_END and "fill" in str(question.tree) \
        and "must ensure unique matches" in ours[1].get("error", "") and theirs[0] == 200


def same_quantile_twice(question, ours, theirs):
    return "histogram_quantiles(" in str(question.tree) and "same labelset" in ours[1].get("error", "") and theirs[0] == 200


def sorted_by_missing_label(question, ours, theirs):
    if not question.tree.what.startswith("sort_by_label") or compare.difference(ours, theirs):
        return False
    labels = re.findall(r'"([^"]*)"', str(question.tree.parts[-1]))
    return any(label not in series["metric"] for label in labels for series in ours[1]["data"]["result"])


def last_operand_pair(_question, ours, theirs):
    word = "incompatible sample types encountered for binary operator"
    return same_but_remarks(ours, theirs, word) and remarks(theirs, word) < remarks(ours, word)


def float_beside_histogram(question, ours, theirs):
    text = str(question.tree)
    return "same labelset" in ours[1].get("error", "") and theirs[0] == 200 \
        and re.search(r"label_(replace|join)\(", text) is not None and re.search("mixed|native|custom|__name__", text) is not None


LOGARITHM_OF_SUBNORMAL = re.compile(r'"-7(0[89]|[123][0-9]|4[0-5])\.[0-9]+"')


def subnormal_logarithm(question, ours, theirs):
    if "ln(" not in str(question.tree) or not ours[0] == theirs[0] == 200:
        return False
    same = (json.loads(LOGARITHM_OF_SUBNORMAL.sub('"-708"', json.dumps(answer[1]))) for answer in (ours, theirs))
    return not compare.difference(*((200, document) for document in same))


# (name, reason, whether it applies)
KNOWN = [
    ("info() gives a removed name back", "3.14 lets info() restore a metric name that was to be removed at the end; "
     "corrected after it", info_revives_names),
    ("info() without offset and @", "3.14 looks up info series at the evaluation time, whatever the selector says; "
     "corrected after it", info_ignores_shifts),
    ("the first of count_values(), info() and limit_ratio()", "the reference returns their series in an order of its own, and limitk(), topk() and "
     "bottomk() of equal values keep the first; sums remark on what comes first", order_of_counts),
    ("anchored and smoothed ranges without samples", "the reference ends with an internal error when it is asked for the "
     "samples themselves", fails_on_nothing),
    ("the text of a custom histogram of NaN", "count_values() makes the reference write a zero bucket that is not 0, as NaN is "
     "not, which custom buckets do not have: it ends with an internal error", text_of_custom_nan),
    ("a pinned subquery beside a scalar", "3.14 evaluates predict_linear() and quantile_over_time() of a subquery with @ wrongly; "
     "corrected after it", pinned_subquery),
    ("timestamp() of a pinned selector", "the reference then forgets the offset", pinned_timestamp),
    ("equal values over a range", "the reference hands series of a range on in random order, and topk(), bottomk() and limitk() "
     "keep one of equal values by their order", ties_over_a_range),
    ("labels of absent() at a time without blocks", "the reference's index sorts the matchers that the labels are made of, but is "
     "not asked where the store has nothing at all", absent_from_everywhere),
    ("repeated series after fill", "3.14 finds them at the end of the query, if at all", repeated_by_fill),
    ("the same quantile twice", "3.14 lets histogram_quantiles() repeat a series until the query ends", same_quantile_twice),
    ("sorting by a label that some series lack", "the reference takes a missing label for larger and for smaller than any other, "
     "so that the order is that of the input, more or less; we begin with the missing ones", sorted_by_missing_label),
    ("one remark for each binary operator", "the reference keeps the remark on the last pair of operands that did not "
     "fit; we keep those on histogram and float and on float and histogram", last_operand_pair),
    ("a float and a histogram of the same labels", "when labels are changed so that two series of one time become one, the "
     "reference notices two floats or two histograms only; we refuse one of each, too", float_beside_histogram),
    ("the logarithm of a subnormal number", "the reference takes the exponent of one that is not subnormal", subnormal_logarithm),
]



def has(*patterns):
    """Whether both answered and the query has all of the patterns in it."""
    compiled = [re.compile(pattern) for pattern in patterns]

    def applies(question, ours, theirs):
        return ours[0] == theirs[0] == 200 and all(pattern.search(str(question.tree)) for pattern in compiled)

    return applies


def only_remarks(*words):
    return lambda _question, ours, theirs: same_but_remarks(ours, theirs, *words)


def pairs_that_fail(_question, ours, theirs):
    return "multiple matches for labels" in ours[1].get("error", "") and theirs[0] == 200


def only_positions(_question, ours, theirs):
    def plain(answer):
        status, document = answer
        kept = {member: sorted({re.sub(r" \([0-9]+:[0-9]+\)$", "", text) for text in document.get(member, [])})
                for member in ("infos", "warnings")}
        return status, dict(document, **kept)

    return not compare.difference(plain(ours), plain(theirs))


def parameter_without_input(_question, ours, theirs):
    refused = re.search("value is NaN|int64", ours[1].get("error", ""))
    return bool(refused) and theirs[0] == 200 and size_of(theirs) in (0, -1)


def factor_is_nan(question, ours, theirs):
    return "double_exponential_smoothing" in str(question.tree) and theirs[0] == 200 and ours[0] == 422


OLDER = [
    ("custom buckets with different bounds", "newer ones bring them to their common bounds, older ones give nothing",
     has(r"custom_|mixed|__name__")),
    ("remarks", "older ones name the metric even where they have removed the name, do not remark that sorting has no "
     "effect in a range query, and say less of buckets that are not monotonic",
     only_remarks("has a malformed value", "sort is ineffective", "needed to be fixed for monotonicity")),
    ("comparisons of several pairs", "older ones count only those that hold when they look for a second match",
     pairs_that_fail),
    ("histogram_fraction() of classic histograms", "older ones take the lowest bucket to reach down to -Inf",
     has(r"histogram_fraction\(", "latency_|__name__")),
    ("parameters without input", "older ones look at the parameter of topk() and its like only when there is input",
     parameter_without_input),
    ("a smoothing factor of NaN", "older ones accept it", factor_is_nan),
    ("info()", "it was rewritten: series of info metrics, and series without identifying labels", has(r"\binfo\(")),
    ("rates of gauge histograms", "older ones look for counter resets in them", has(r"(rate|increase)\(", "native_gauge")),
    ("places of remarks", "older ones point to the parentheses around an argument", only_positions),
]


def explain(question, ours, theirs, version):
    """The name of the known difference that this is, or ""."""
    for name, _reason, applies in KNOWN + (OLDER if version < servers.NEWEST else []):
        if applies(question, ours, theirs):
            return name
    return ""
