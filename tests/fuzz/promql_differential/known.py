"""What the reference answers differently from the release that we follow, by name, with the reason.

Tidewright follows Prometheus 3.14; the reference that distributions carry may be older. A difference counts as known
only if its predicate accepts the query and both answers. Nothing else is left out.
"""

KNOWN = []


def explain(query, ours, theirs):
    """The name of the known difference that this is, or ""."""
    for name, _reason, applies in KNOWN:
        if applies(query, ours, theirs):
            return name
    return ""
