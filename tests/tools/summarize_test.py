"""Tests of summarize.py: every way in which a test can end is counted once, and as what it is."""

import json
import tempfile
import unittest
from pathlib import Path

import summarize

GTEST = """<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="5" name="AllTests">
  <testsuite name="Head">
    <testcase name="Appends" file="a.cc" line="1" status="run" result="completed" time="0." classname="Head" />
    <testcase name="Fails" status="run" result="completed" classname="Head">
      <failure message="a.cc:7&#x0A;boom" type=""><![CDATA[a.cc:7
boom]]></failure>
    </testcase>
    <testcase name="Skips" status="run" result="skipped" classname="Head">
      <skipped message="a.cc:9&#x0A;no redis-server here"><![CDATA[a.cc:9
no redis-server here
]]></skipped>
    </testcase>
    <testcase name="DISABLED_Old" status="notrun" result="suppressed" classname="Head" />
  </testsuite>
</testsuites>
"""


def junit(*cases):
    return "<testsuite name='x'>" + "".join(cases) + "</testsuite>"


def entry(name, status, inside=""):
    return f"<testcase name='{name}' status='{status}'>{inside}</testcase>"


class SummarizeTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.results = Path(self.folder.name)
        (self.results / "gtest").mkdir()

    def run_with(self, suite_xml, **gtest_reports):
        (self.results / "unit.xml").write_text(suite_xml)
        for name, text in gtest_reports.items():
            (self.results / "gtest" / f"{name}_test.xml").write_text(text)
        return summarize.summarize(self.results)

    def test_cases_of_a_program_are_counted_one_by_one(self):
        summary = self.run_with(junit(entry("tsdb", "fail")), tsdb=GTEST)
        self.assertEqual(summary.line(), "1 passed, 1 failed, 2 skipped")
        self.assertEqual(summary.skipped[0], ("tsdb: Head.Skips", "no redis-server here"))
        self.assertEqual(summary.failed[0], ("tsdb: Head.Fails", "a.cc:7\nboom"))
        self.assertFalse(summary.ok())

    def test_program_that_dies_after_its_cases_fails(self):
        passing = GTEST.replace("failure", "ignored")
        summary = self.run_with(junit(entry("tsdb", "fail", "<system-out>leak!</system-out>")), tsdb=passing)
        self.assertEqual(len(summary.failed), 1)
        self.assertIn("leak!", summary.failed[0][1])

    def test_program_that_dies_before_its_report_counts_as_one_failure(self):
        summary = self.run_with(junit(entry("tsdb", "fail", "<system-out>Segmentation fault</system-out>")))
        self.assertEqual(summary.line(), "0 passed, 1 failed, 0 skipped")
        self.assertIn("Segmentation fault", summary.failed[0][1])

    def test_torn_report_counts_as_one_failure(self):
        summary = self.run_with(junit(entry("tsdb", "fail")), tsdb=GTEST[:200])
        self.assertEqual(summary.line(), "0 passed, 1 failed, 0 skipped")

    def test_other_entries_count_as_one(self):
        summary = self.run_with(junit(entry("layers", "run"), entry("other", "fail"), entry("off", "disabled")))
        self.assertEqual(summary.line(), "1 passed, 1 failed, 1 skipped")

    def test_program_that_was_not_built_fails(self):
        summary = self.run_with(junit(entry("tsdb", "notrun", "<skipped message='Unable to find executable'/>")))
        self.assertEqual(summary.line(), "0 passed, 1 failed, 0 skipped")

    def test_skip_by_return_code_is_a_skip(self):
        summary = self.run_with(junit(entry("x", "notrun", "<skipped message='SKIP_RETURN_CODE=77'/>")))
        self.assertEqual(summary.line(), "0 passed, 0 failed, 1 skipped")

    def test_nothing_ran_is_no_success(self):
        self.assertFalse(self.run_with(junit()).ok())

    def run_with_go(self, *events):
        lines = []
        for action, test, *output in events:
            event = {"Action": action, "Package": "example.org/module/scenarios", "Test": test}
            lines.append(json.dumps({**event, "Output": output[0]} if output else event))
        (self.results / "controlplane.json").write_text("\n".join(lines) + "\n")
        return summarize.summarize(self.results)

    def test_go_tests_are_counted_by_their_leaves(self):
        summary = self.run_with_go(
            ("run", "TestA"), ("run", "TestA/one"), ("pass", "TestA/one"), ("run", "TestA/two"),
            ("output", "TestA/two", "    a_test.go:7: boom\n"), ("fail", "TestA/two"), ("fail", "TestA"),
            ("run", "TestB"), ("pass", "TestB"), ("run", "TestC"), ("output", "TestC", "=== RUN   TestC\n"),
            ("output", "TestC", "    c_test.go:9: no root here\n"), ("skip", "TestC"), ("fail", ""))
        self.assertEqual(summary.line(), "2 passed, 1 failed, 1 skipped")
        self.assertEqual(summary.failed, [("controlplane: scenarios.TestA/two", "    a_test.go:7: boom")])
        self.assertEqual(summary.skipped, [("controlplane: scenarios.TestC", "no root here")])

    def test_go_test_that_another_process_runs_is_counted_there(self):
        summary = self.run_with_go(
            ("run", "TestA"), ("output", "TestA", "    m_test.go:9: another process runs this one\n"), ("skip", "TestA"),
            ("run", "TestB"), ("pass", "TestB"), ("pass", ""))
        self.assertEqual(summary.line(), "1 passed, 0 failed, 0 skipped")

    def test_go_test_that_fails_around_its_subtests_is_one_failure(self):
        summary = self.run_with_go(
            ("run", "TestA"), ("run", "TestA/one"), ("pass", "TestA/one"), ("fail", "TestA"), ("fail", ""))
        self.assertEqual(summary.line(), "1 passed, 1 failed, 0 skipped")

    def test_go_test_that_does_not_end_is_a_failure(self):
        summary = self.run_with_go(("run", "TestA"), ("output", "TestA", "panic: timed out\n"), ("fail", ""))
        self.assertEqual(summary.line(), "0 passed, 1 failed, 0 skipped")
        self.assertIn("panic: timed out", summary.failed[0][1])

    def test_go_package_that_fails_without_a_test_is_a_failure(self):
        for action in ("fail", "build-fail"):
            with self.subTest(action):
                summary = self.run_with_go(("output", "", "cannot start etcd\n"), (action, ""))
                self.assertEqual(summary.line(), "0 passed, 1 failed, 0 skipped")
                self.assertIn("cannot start etcd", summary.failed[0][1])

    def test_go_package_that_only_says_that_it_failed_says_at_least_that(self):
        summary = self.run_with_go(("output", "", "exit status 3\n"), ("fail", ""))
        self.assertEqual(summary.failed, [("controlplane: scenarios", "exit status 3")])

    def test_go_package_without_tests_is_nothing(self):
        self.assertEqual(self.run_with_go(("skip", "")).line(), "0 passed, 0 failed, 0 skipped")

    def test_empty_go_report_is_a_failure(self):
        self.assertEqual(self.run_with_go().line(), "0 passed, 1 failed, 0 skipped")

    def test_suite_that_could_not_run_is_one_skip_with_its_reason(self):
        (self.results / "controlplane.skipped").write_text("Go is not installed\n")
        self.assertEqual(summarize.summarize(self.results).skipped, [("controlplane", "Go is not installed")])


if __name__ == "__main__":
    unittest.main()
