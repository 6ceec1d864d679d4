#!/usr/bin/env python3
"""Checks habits of this tree that compilers and clang-tidy do not know.

usage: check_sources.py SOURCE_DIR

Files are at most 800 lines. Time comes from base::Clock, threads are joined, nothing sleeps. Some headers cost every
file that sees them, so they stay out. A public header with a class says what threads may do with it. The page loads
nothing from elsewhere and makes no markup from text.
"""

import re
import sys
from pathlib import Path

MAX_LINES = 800
MODULES = ("base http kube tsdb scrape promql rules notify apiservice adapter scaler web sandbox cmd").split()


class Rule:
    """A pattern that must not occur, except in the files named."""

    def __init__(self, pattern, instead, allowed=(), only_headers=False, tests_too=True):
        self.pattern = re.compile(pattern)
        self.instead = instead
        self.allowed = allowed
        self.only_headers = only_headers
        self.tests_too = tests_too

    def covers(self, relative):
        if relative in self.allowed or (self.only_headers and not relative.endswith(".h")):
            return False
        return self.tests_too or not relative.startswith("tests/")


CLOCKS = ("base/clock.cc", "base/mutex.h", "base/shared_mutex.h")
SOCKETS = ("http/connection.cc",)  # Asio's timers count on a clock of their own.
RULES = (
    Rule(r"[.>]detach\(\)", "a detached thread outlives what it uses; join it in Stop()"),
    Rule(r"\b(sleep_for|sleep_until|usleep|nanosleep)\s*\(", "wait on base::Clock or a condition", CLOCKS),
    Rule(r"\b(system_clock|steady_clock|high_resolution_clock)::now\s*\(", "take the time from base::Clock", CLOCKS + SOCKETS),
    Rule(r"\b(gettimeofday|clock_gettime)\s*\(|[^\w.>]time\((nullptr|NULL|0)\)", "take the time from base::Clock", CLOCKS),
    Rule(r"std::(mutex|shared_mutex|recursive_mutex|lock_guard|unique_lock|scoped_lock)\b",
         "use base::Mutex, whose annotations a Clang build checks", CLOCKS, tests_too=False),
    Rule(r"#\s*include\s*<(regex|iostream)>", "use RE2 and base/log.h; it slows every compilation",
         tests_too=False),
    Rule(r"#\s*include\s*<(nlohmann/json\.hpp|spdlog/|fmt/|yaml-cpp/)", "include it in .cc files; headers use base/json_fwd.h",
         ("base/json.h",), only_headers=True),
    Rule(r"\b(TODO|FIXME|XXX|HACK)\b", "finish it, or open an issue"),
    Rule(r"^using namespace (?!std::(string_view_|chrono_)?literals)", "name what is used"),
)


# web/ui: what the page's security policy would refuse at run time, or what would let text become markup.
PAGE_SUFFIXES = (".ts", ".tsx", ".css", ".html", ".mjs")
PAGE_RULES = (
    Rule(r"innerHTML|outerHTML\s*=|insertAdjacentHTML|document\.write", "make elements; text that becomes markup can run"),
    Rule(r"\beval\(|new Function\(", "the policy of the page forbids it"),
    Rule(r"(?:src|href|import|from|url\()\s*=?\s*[\"'(]*https?://(?!127\.0\.0\.1)", "the page loads nothing from elsewhere"),
    Rule(r"\b(TODO|FIXME|XXX|HACK)\b", "finish it, or open an issue"),
)


def strip_comment(line):
    """The line up to a // comment; good enough for patterns that do not occur in strings."""
    return line.split("//", 1)[0]


def check_lines(relative, lines):
    errors = []
    if len(lines) > MAX_LINES:
        errors.append(f"{relative}:{len(lines)}: a file has at most {MAX_LINES} lines; split it by subject")
    rules = [rule for rule in RULES if rule.covers(relative)]
    for number, line in enumerate(lines, 1):
        for rule in rules:
            text = line if "TODO" in rule.pattern.pattern else strip_comment(line)
            match = rule.pattern.search(text)
            if match:
                errors.append(f"{relative}:{number}: {match.group(0).strip()}: {rule.instead}")
    return errors


def check_page(relative, lines):
    errors = []
    if len(lines) > MAX_LINES and not relative.endswith(".css"):
        errors.append(f"{relative}:{len(lines)}: a file has at most {MAX_LINES} lines; split it by subject")
    for number, line in enumerate(lines, 1):
        for rule in PAGE_RULES:
            match = rule.pattern.search(line)
            if match:
                errors.append(f"{relative}:{number}: {match.group(0).strip()}: {rule.instead}")
    return errors


def check_header(relative, text, public=True):
    errors = []
    if "#pragma once" not in text:
        errors.append(f"{relative}:1: a header starts with a comment and #pragma once")
    if not text.lstrip().startswith("//"):
        errors.append(f"{relative}:1: a header starts by saying what it is for")
    declares_class = re.search(r"^class \w+(?: final)?(?: :[^;]*)? \{", text, re.MULTILINE)
    if public and declares_class and not re.search(r"[Tt]hread|[Ii]mmutable|[Vv]alue type", text):
        line = text.count("\n", 0, declares_class.start()) + 1
        errors.append(f"{relative}:{line}: say whether the class is thread-safe, thread-compatible or for one thread")
    return errors


def public_headers(texts):
    """The headers that another module than their own includes."""
    public = set()
    for relative, text in texts.items():
        folder = relative.split("/")[0]
        for header in re.findall(r'^#include "([^"]+)"', text, re.MULTILINE):
            if folder not in ("tests", header.split("/")[0]):
                public.add(header)
    return public


def check_tree(root):
    """Returns (errors, number of files read)."""
    paths = [path for folder in MODULES + ["tests"] for path in sorted((root / folder).rglob("*"))]
    texts = {path.relative_to(root).as_posix(): path.read_text(errors="replace")
             for path in paths if path.suffix in (".h", ".cc")}
    public = public_headers(texts)
    errors = []
    for relative, text in texts.items():
        errors += check_lines(relative, text.splitlines())
        if relative.endswith(".h"):
            errors += check_header(relative, text, relative in public)
    page = [path for folder in ("src", "test", "browser") for path in sorted((root / "web/ui" / folder).rglob("*"))]
    for path in page:
        if path.suffix in PAGE_SUFFIXES:
            errors += check_page(path.relative_to(root).as_posix(), path.read_text(errors="replace").splitlines())
    return errors, len(texts)


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    errors, files = check_tree(root)
    for error in errors:
        print(error, file=sys.stderr)
    if files == 0:
        print(f"{root}: no source file found", file=sys.stderr)
    return 1 if errors or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
