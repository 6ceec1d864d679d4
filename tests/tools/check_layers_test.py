"""Tests of check_layers.py: a bad include in a small tree is found, a good one is not."""

import tempfile
import unittest
from pathlib import Path

import check_layers

TABLE = """
| folder | what lives there | may include |
|---|---|---|
| `base/` | helpers | - |
| `http/` | the wire | base |
| `kube/` | the cluster | http base |
| `tsdb/` | storage | base |
| `promql/` | queries | tsdb base |
| `cmd/` | wiring | all |
| `charts/`, `examples/` | manifests | |
| `tests/` | tests | all |
"""


class CheckLayersTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = Path(self.folder.name)
        self.write("docs/architecture.md", TABLE)
        self.write("base/status.h", "#pragma once\n#include <string>\n")

    def write(self, path, text):
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def errors(self):
        return check_layers.check_tree(self.root)[0]

    def test_allowed_includes_pass(self):
        self.write("promql/engine.cc", '#include "promql/engine.h"\n#include "tsdb/head.h"\n#include "base/status.h"\n')
        self.write("cmd/main.cc", '#include "promql/engine.h"\n')
        self.write("tests/tsdb/head_test.cc", '#include "promql/engine.h"\n#include <openssl/ssl.h>\n')
        self.assertEqual(self.errors(), [])

    def test_upward_include_is_named_with_its_line(self):
        self.write("tsdb/head.cc", '#include "tsdb/head.h"\n\n#include "base/status.h"\n#include "promql/engine.h"\n')
        self.assertEqual(self.errors(), ["tsdb/head.cc:4: tsdb must not include promql"])

    def test_subfolders_belong_to_their_module(self):
        self.write("tsdb/wal/segment.cc", '#include "http/client.h"\n')
        self.assertEqual(self.errors(), ["tsdb/wal/segment.cc:1: tsdb must not include http"])

    def test_indented_and_spaced_directives_count(self):
        self.write("base/a.cc", '  #  include "tsdb/head.h"\n')
        self.assertEqual(self.errors(), ["base/a.cc:1: base must not include tsdb"])

    def test_commented_include_is_none(self):
        self.write("base/a.cc", '// #include "tsdb/head.h"\n')
        self.assertEqual(self.errors(), [])

    def test_test_headers_stay_in_tests(self):
        self.write("tsdb/head.cc", '#include "tests/tsdb/fake.h"\n')
        self.assertIn("tsdb must not include tests", self.errors()[0])

    def test_include_without_folder_is_an_error(self):
        self.write("tsdb/head.cc", '#include "head.h"\n')
        self.assertIn('write "head.h" with its folder', self.errors()[0])

    def test_embedded_files_have_no_folder(self):
        self.write("cmd/main.cc", '#include "page_files.h"\n')
        self.assertEqual(self.errors(), [])

    def test_libraries_stay_behind_the_wall(self):
        for header, library in (("boost/beast.hpp", "Boost"), ("cpprest/http_client.h", "cpprestsdk"),
                                ("pplx/pplxtasks.h", "cpprestsdk"), ("curl/curl.h", "libcurl"),
                                ("openssl/ssl.h", "OpenSSL")):
            with self.subTest(header):
                self.write("http/client.cc", f"#include <{header}>\n")
                self.write("kube/client.cc", f"#include <{header}>\n")
                self.assertEqual(self.errors(), [
                    f"kube/client.cc:1: kube must not include <{header}>: only http sees {library}"])

    def test_headers_that_show_a_library_stay_in_http(self):
        self.write("http/openssl_ptr.h", "#include <openssl/ssl.h>\n")
        self.write("http/stream.h", '#include "http/openssl_ptr.h"\n')
        self.write("http/client.h", "#include <string>\n")
        self.write("kube/client.cc", '#include "http/client.h"\n#include "http/stream.h"\n')
        self.assertEqual(self.errors(), ["kube/client.cc:2: kube must not include http/stream.h: it shows OpenSSL"])

    def test_dependency_in_cmake_is_checked(self):
        self.write("tsdb/CMakeLists.txt", "# A comment.\ntidewright_module(tsdb\n  SOURCES a.cc\n  DEPS tsdb_wal base promql\n  LINK x)\n")
        self.assertEqual(self.errors(), ["tsdb/CMakeLists.txt:2: tsdb must not depend on promql"])

    def test_folder_without_row_is_an_error(self):
        self.write("util/strings.h", "#pragma once\n")
        self.assertEqual(self.errors(), ["util/strings.h:1: util/ has no row in docs/architecture.md"])

    def test_broken_tables_do_not_pass(self):
        for name, text in (("empty", "No table here.\n"), ("unknown", "| `base/` | x | nowhere |\n"),
                           ("double", "| `base/` | x | - |\n| `base/` | y | - |\n")):
            with self.subTest(name), self.assertRaises(check_layers.TableError):
                check_layers.parse_table(text)


if __name__ == "__main__":
    unittest.main()
