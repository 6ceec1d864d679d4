"""Tests of check_sources.py: each habit's breach is found where it is, and its lawful neighbours are not."""

import tempfile
import unittest
from pathlib import Path

import check_sources


def breaches(relative, text):
    return check_sources.check_lines(relative, text.splitlines())


class CheckSourcesTest(unittest.TestCase):
    def test_breaches_are_named_with_their_line(self):
        for name, line in (("detach", "worker.detach();"), ("sleep", "std::this_thread::sleep_for(5ms);"),
                           ("wall clock", "auto t = std::chrono::system_clock::now();"), ("time", "srand(time(nullptr));"),
                           ("mutex", "std::mutex mu_;"), ("regex", "#include <regex>"), ("unfinished", "// TODO: later"),
                           ("namespace", "using namespace std;")):
            with self.subTest(name):
                errors = breaches("tsdb/head.cc", "int a;\n" + line + "\n")
                self.assertEqual(len(errors), 1, errors)
                self.assertTrue(errors[0].startswith("tsdb/head.cc:2: "), errors)

    def test_lawful_neighbours_pass(self):
        for relative, line in (("base/clock.cc", "return std::chrono::system_clock::now();"),
                               ("base/json.h", "#include <nlohmann/json.hpp>"),
                               ("tsdb/head.cc", "#include <nlohmann/json.hpp>"),
                               ("tsdb/head.cc", "// A thread that we detach() would leak."),
                               ("tsdb/head.cc", "clock.time(0);"), ("tsdb/head.cc", "base::Mutex mu_;"),
                               ("promql/functions.cc", '{"timestamp", Time(0)},')):
            with self.subTest(line):
                self.assertEqual(breaches(relative, line), [])

    def test_heavy_header_in_header(self):
        self.assertEqual(len(breaches("tsdb/head.h", "#include <nlohmann/json.hpp>")), 1)

    def test_long_file(self):
        self.assertEqual(breaches("a/b.cc", "x\n" * 800), [])
        self.assertEqual(len(breaches("a/b.cc", "x\n" * 801)), 1)

    def test_header_says_what_threads_may_do(self):
        head = "// A head.\n#pragma once\n"
        self.assertEqual(check_sources.check_header("a/b.h", head + "// Thread-safe.\nclass Head {\n};\n"), [])
        self.assertEqual(check_sources.check_header("a/b.h", head + "class Head;\n"), [])
        self.assertIn("a/b.h:3: say whether", check_sources.check_header("a/b.h", head + "class Head {\n};\n")[0])

    def test_only_headers_that_others_include_are_public(self):
        self.assertEqual(check_sources.public_headers({
            "rules/group.cc": '#include "promql/engine.h"\n#include "rules/group.h"\n',
            "tests/promql/lexer_test.cc": '#include "promql/lexer.h"\n'}), {"promql/engine.h"})

    def test_page_loads_nothing_and_makes_no_markup(self):
        for name, line in (("markup", "node.innerHTML = text;"), ("eval", "eval(text)"), ("script", '<script src="https://x.example/a.js">'),
                           ("style", "@import url('https://x.example/a.css');"), ("font", "src: url(https://x.example/a.woff)")):
            with self.subTest(name):
                self.assertEqual(len(check_sources.check_page("web/ui/src/a.ts", [line])), 1)
        for line in ("<a href={url}>", "// https://www.w3.org/TR/CSP3/", "if (/^https?:/.test(url)) return;"):
            with self.subTest(line):
                self.assertEqual(check_sources.check_page("web/ui/src/a.ts", [line]), [])

    def test_header_starts_with_its_purpose(self):
        self.assertEqual(len(check_sources.check_header("a/b.h", "#include <string>\n")), 2)

    def test_empty_tree_does_not_pass(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(check_sources.check_tree(Path(folder)), ([], 0))


if __name__ == "__main__":
    unittest.main()
