#!/usr/bin/env python3
"""Adds up a test run and ends with the line "N passed, M failed, K skipped".

usage: summarize.py RESULTS_DIR

RESULTS_DIR holds what ctest wrote with --output-junit (<suite>.xml) and what the GoogleTest programs wrote with
GTEST_OUTPUT=xml:RESULTS_DIR/gtest/. A program's cases are counted one by one; a ctest entry that is no GoogleTest
program, or whose program died before it could report, counts as one.

It may also hold what `go test -json` wrote (<suite>.json), whose tests are counted one by one, those with subtests by
these; and a text file <suite>.skipped with the reason for which a whole suite did not run, which counts as one.

Prints the reason of each skip and the message of each failure. The exit status is 1 when something failed or nothing
ran.
"""

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

TAIL_LINES = 40


class Summary:
    """The cases of a run by outcome; skips and failures as (name, text)."""

    def __init__(self):
        self.passed = 0
        self.skipped = []
        self.failed = []

    def line(self):
        return f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"

    def ok(self):
        return not self.failed and self.passed + len(self.skipped) > 0


def strip_place(text):
    """A skip's message without the first line, which GoogleTest makes "file:line"."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if len(lines) > 1 and ":" in lines[0] and lines[0].rsplit(":", 1)[1].isdigit():
        lines = lines[1:]
    return " ".join(lines) or "no reason given"


def add_gtest(summary, entry, root):
    """Counts one program's report. Returns whether it names a failure."""
    failures_before = len(summary.failed)
    for suite in root.iter("testsuite"):
        for case in suite.iter("testcase"):
            name = f"{entry}: {case.get('classname', '')}.{case.get('name', '')}"
            failures = [failure.text or failure.get("message", "") for failure in case.findall("failure")]
            skip = case.find("skipped")
            if failures:
                summary.failed.append((name, "\n".join(failures)))
            elif skip is not None:
                summary.skipped.append((name, strip_place(skip.text or skip.get("message", ""))))
            elif case.get("status") == "run" or case.get("result") == "completed":
                summary.passed += 1
            else:
                summary.skipped.append((name, "disabled by its name"))
    return len(summary.failed) > failures_before


def read_xml(path):
    """The document's root, or None when the program died while or before writing it."""
    try:
        return ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return None


def tail(case):
    output = (case.findtext("system-out") or "").strip().splitlines()
    return "\n".join(output[-TAIL_LINES:])


def add_ctest_case(summary, case, gtest_dir):
    """Counts one ctest entry, by its GoogleTest report where there is one."""
    name, status = case.get("name", "?"), case.get("status", "")
    report = read_xml(gtest_dir / f"{name}_test.xml")
    if report is not None:
        named = add_gtest(summary, name, report)
        if status == "fail" and not named:
            summary.failed.append((name, "failed outside of its test cases:\n" + tail(case)))
    elif status == "run":
        summary.passed += 1
    elif status == "fail":
        summary.failed.append((name, tail(case)))
    elif status in ("notrun", "disabled"):
        reason = case.find("skipped")
        message = reason.get("message", "") if reason is not None else ""
        if "SKIP" in message or status == "disabled":
            summary.skipped.append((name, tail(case) or message or "disabled"))
        else:
            summary.failed.append((name, f"did not run: {message}"))
    else:
        summary.failed.append((name, f"ctest reports the unknown status {status!r}"))


class GoTest:
    """What `go test -json` says of a test, or of a package when the test has no name."""

    def __init__(self):
        self.outcome = None
        self.output = []

    def text(self, marks):
        """What the test printed, without the lines that only mark its course; the end of it if that is long."""
        lines = [line for line in "".join(self.output).splitlines() if line.strip() and not marks.match(line)]
        return "\n".join(lines[-TAIL_LINES:])


GO_MARKS = re.compile(r"^(=== |\s*--- |FAIL\b|ok\b|exit status |PASS\b)")
# Said by a test that another process of the same run has taken; see claimTest() of the control plane's scenarios.
RUN_ELSEWHERE = "another process runs this one"
GO_PLACE = re.compile(r"^\s*[\w./]+\.go:\d+: ")


def read_go_tests(path):
    """The tests and packages by (package, test); the package's own entry has the test ""."""
    tests = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # What a tool printed in between, or the torn end of an interrupted run.
            key = (event.get("Package") or event.get("ImportPath", "?"), event.get("Test", ""))
            test = tests.setdefault(key, GoTest())
            if event.get("Action") in ("output", "build-output"):
                test.output.append(event.get("Output", ""))
            elif event.get("Action") in ("pass", "fail", "skip", "build-fail"):
                test.outcome = event["Action"].removeprefix("build-")
    return tests


def add_go_report(summary, path):
    """Counts the tests that have no subtests, and what failed around them."""
    tests = read_go_tests(path)
    if not tests:
        summary.failed.append((path.stem, f"{path} tells of no test"))
    blamed = set()  # What fails only because something inside it does. Children come after their parents.
    for (package, name), test in sorted(tests.items(), reverse=True):
        title = f"{path.stem}: {package.rsplit('/', 1)[-1]}" + (f".{name}" if name else "")
        is_leaf = name and not any(p == package and n.startswith(name + "/") for p, n in tests)
        if test.outcome in ("fail", None):
            if (package, name) not in blamed:
                text = test.text(GO_MARKS) or "".join(test.output).strip()
                summary.failed.append((title, text if test.outcome else "did not end\n" + text))
            blamed.update({(package, ""), (package, name.rpartition("/")[0])})
        elif is_leaf and test.outcome == "skip" and RUN_ELSEWHERE in "".join(test.output):
            continue  # And counted there.
        elif is_leaf and test.outcome == "skip":
            summary.skipped.append((title, GO_PLACE.sub("", test.text(GO_MARKS)) or "no reason given"))
        elif is_leaf:
            summary.passed += 1


def summarize(results):
    summary = Summary()
    for path in sorted(results.glob("*.xml")):
        root = read_xml(path)
        if root is None:
            summary.failed.append((path.stem, f"{path} cannot be read: ctest was interrupted"))
            continue
        for case in root.iter("testcase"):
            add_ctest_case(summary, case, results / "gtest")
    for path in sorted(results.glob("*.json")):
        add_go_report(summary, path)
    for path in sorted(results.glob("*.skipped")):
        summary.skipped.append((path.stem, path.read_text(encoding="utf-8").strip()))
    return summary


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    summary = summarize(Path(sys.argv[1]))
    for name, reason in summary.skipped:
        print(f"skipped {name}: {reason}")
    for name, text in summary.failed:
        print(f"\nFAILED {name}")
        print("\n".join("    " + line for line in text.strip().splitlines()))
    if summary.passed + len(summary.skipped) + len(summary.failed) == 0:
        print("no test ran: is the suite's name right, and was it built?", file=sys.stderr)
    print(summary.line(), flush=True)
    return 0 if summary.ok() else 1


if __name__ == "__main__":
    sys.exit(main())
