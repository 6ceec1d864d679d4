"""What the reference answers otherwise than we do on purpose, by name, with the reason.

Tidewright follows Prometheus 3.14. A difference counts as known only where the query and both answers fit the description; nothing
else is left out. Those of OLDER concern references before 3.14 alone.
"""

import re

import compare
import servers


def uses(*words):
    """Whether the query calls one of the functions or operators."""
    pattern = re.compile(r"\b(%s)\b ?\(" % "|".join(words))
    return lambda question, ours, theirs: bool(pattern.search(str(question.tree)))


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
    return not compare.difference(stripped(ours, without_name), stripped(theirs, without_name))


def info_ignores_shifts(question, _ours, _theirs):
    text = str(question.tree)
    return "info(" in text and (" offset " in text or " @ " in text)


def size_of(answer):
    data = answer[1].get("data", {})
    return len(data["result"]) if data.get("resultType") in ("vector", "matrix") else -1


def order_of_counts(question, ours, theirs):
    text = str(question.tree)
    chooses = any(word in text for word in ("limitk", "topk", "bottomk"))
    return chooses and "count_values" in text and ours[0] == theirs[0] == 200


def remarks(answer, word):
    return {text for member in ("infos", "warnings") for text in answer[1].get(member, []) if word in text}


def same_but_remarks(ours, theirs, word):
    """Whether nothing differs but annotations with that word."""
    def plain(answer):
        status, document = answer
        kept = {member: [text for text in document.get(member, []) if word not in text]
                for member in ("infos", "warnings")}
        return status, dict(document, **kept)

    return not compare.difference(plain(ours), plain(theirs))


def last_operand_pair(_question, ours, theirs):
    word = "incompatible sample types encountered for binary operator"
    return same_but_remarks(ours, theirs, word) and remarks(theirs, word) < remarks(ours, word)


# (name, reason, whether it applies)
KNOWN = [
    ("info() gives a removed name back", "3.14 lets info() restore a metric name that was to be removed at the end; "
     "corrected after it", info_revives_names),
    ("info() without offset and @", "3.14 looks up info series at the evaluation time, whatever the selector says; "
     "corrected after it", info_ignores_shifts),
    ("the first of count_values()", "the reference returns the values in random order, and limitk(), topk() and "
     "bottomk() of equal values keep the first", order_of_counts),
    ("one remark for each binary operator", "the reference keeps the remark on the last pair of operands that did not "
     "fit; we keep those on histogram and float and on float and histogram", last_operand_pair),
]

OLDER = []


def explain(question, ours, theirs, version):
    """The name of the known difference that this is, or ""."""
    for name, _reason, applies in KNOWN + (OLDER if version < servers.NEWEST else []):
        if applies(question, ours, theirs):
            return name
    return ""
