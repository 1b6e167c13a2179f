#!/usr/bin/env python3
"""Tests of the checks: each is shown a tree with one planted violation and must name it."""

import pathlib
import subprocess
import tempfile
import unittest

import commit_message
import headers
import layers
import presets
import readmes
import sizes
import source_text

RULES = layers.Rules((pathlib.Path(__file__).parent / "layers.toml").read_text())


class Tree:
    """A small source tree and the targets that its CMake files would record."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.records = []

    def add(self, name, folder, files, deps=(), private_deps=(), kind="library"):
        for file, text in files.items():
            path = self.root / folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.records.append({"kind": kind, "name": name, "folder": folder, "files": list(files),
                             "deps": list(deps), "private_deps": list(private_deps)})

    def complaints(self):
        for top in layers.TOP_FOLDERS:
            (self.root / top).mkdir(exist_ok=True)
        targets = [layers.Target(record) for record in self.records]
        return layers.Checker(self.root, targets, RULES).check()


class Headers(unittest.TestCase):
    """Whose flags suit a header."""

    def flags(self, commands):
        records = [{"kind": kind, "name": name, "folder": "tests/contract", "files": [name + ".x"],
                    "deps": deps, "private_deps": []}
                   for kind, name, deps in (("library", "service_fixture", ["protos"]),
                                            ("library", "client_fixture", ["service_fixture"]),
                                            ("test", "client_test", ["client_fixture"]))]
        targets = {record["name"]: layers.Target(record) for record in records}
        return headers.compile_flags(commands, targets["client_fixture"], targets)

    def test_prefers_the_widest_of_its_users(self):
        self.assertEqual(self.flags({"other": [["c++"]],
                                     "client_test": [["c++", "-mavx2"], ["c++"]],
                                     "service_fixture": [["c++", "-I", "gen"]]}), ["c++", "-mavx2"])

    def test_takes_what_it_links_where_no_user_compiles_by_name(self):
        self.assertEqual(self.flags({"other": [["c++"]],
                                     "service_fixture": [["c++", "-I", "gen"]]}),
                         ["c++", "-I", "gen"])

    def test_takes_any_where_nothing_near_compiles(self):
        self.assertEqual(self.flags({"other": [["c++"]]}), ["c++"])

    def test_is_given_nothing_that_the_build_precompiled(self):
        words = ["ccache", "c++", "-O2", "-fpch-preprocess", "-Winvalid-pch", "-include",
                 "build/cmake_pch.hxx", "-o", "x.o", "-c", "x.cc"]
        command = headers.check_command(words, "common/log/log.h")
        self.assertEqual(command[:3], ["c++", "-O2", "-fsyntax-only"])
        self.assertEqual(command.count("-include"), 1)


class Layers(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.tree = Tree(folder.name)
        self.tree.add("common_status", "common/status", {"status.h": ""})
        self.tree.add("common_log", "common/log",
                      {"log.h": '#include "common/status/status.h"\n'}, ["common_status"])
        self.tree.add("protos_stage", "protos/baton/v1", {"stage.proto": ""}, kind="proto")

    def expect(self, *parts):
        complaints = self.tree.complaints()
        self.assertTrue(any(all(part in line for part in parts) for line in complaints),
                        f"{parts} not in {complaints}")

    def test_accepts_a_clean_tree(self):
        self.tree.add("scheduler_core", "services/scheduler/core",
                      {"a.h": "", "a.cc": '#include "services/scheduler/core/a.h"\n'
                                          '#include <vector>\n#include "common/status/status.h"\n'},
                      ["common_log"])
        self.assertEqual(self.tree.complaints(), [])

    def test_finds_an_include_that_is_not_linked(self):
        self.tree.add("scheduler_core", "services/scheduler/core",
                      {"a.h": '#include "common/log/log.h"\n'}, ["common_status"])
        self.expect("a.h:1", "common_log, which scheduler_core does not link")

    def test_finds_an_include_through_a_private_dependency(self):
        self.tree.add("common_config", "common/config", {"c.h": ""}, [], ["common_log"])
        self.tree.add("gateway", "services/gateway", {"g.h": '#include "common/log/log.h"\n'},
                      ["common_config"])
        self.expect("g.h:1", "does not link")

    def test_finds_a_link_upward(self):
        self.tree.add("common_tensor", "common/tensor", {"t.h": ""}, ["gateway"])
        self.tree.add("gateway", "services/gateway", {"g.h": ""})
        self.expect("common_tensor", "must not link gateway")

    def test_finds_services_that_include_one_another(self):
        self.tree.add("scheduler", "services/scheduler", {"s.h": ""})
        self.tree.add("gateway", "services/gateway", {"g.h": '#include "services/scheduler/s.h"\n'},
                      ["scheduler"])
        self.expect("gateway (services/gateway) must not link scheduler")
        self.expect("g.h:1", "services/gateway must not include services/scheduler/s.h")

    def test_keeps_wires_threads_and_clocks_out_of_the_core(self):
        for header in ("<thread>", "<chrono>", "<atomic>", '"absl/time/clock.h"',
                       '"grpcpp/grpcpp.h"', '"protos/baton/v1/stage.pb.h"'):
            with self.subTest(header), tempfile.TemporaryDirectory() as folder:
                self.tree = Tree(folder)
                self.tree.add("protos_stage", "protos/baton/v1", {"stage.proto": ""}, kind="proto")
                self.tree.add("scheduler_core", "services/scheduler/core",
                              {"a.h": f"#include {header}\n"}, ["protos_stage"])
                self.expect("a.h:1", "must not include", header.strip('<">'))

    def test_lets_only_the_main_of_the_stage_worker_name_a_backend(self):
        self.tree.add("kernels_cpu", "kernels/cpu", {"backend.h": ""})
        text = '#include "kernels/cpu/backend.h"\n'
        self.tree.add("baton-stage-worker", "services/stage_worker", {"main.cc": text},
                      ["kernels_cpu"], kind="binary")
        self.assertEqual(self.tree.complaints(), [])
        self.tree.add("stage_model", "services/stage_worker/model", {"m.h": text}, ["kernels_cpu"])
        self.expect("m.h:1", "must not include kernels/cpu/backend.h")
        self.expect("stage_model", "must not link kernels_cpu")

    def test_finds_third_party_of_another_layer(self):
        self.tree.add("common_tensor", "common/tensor", {"t.h": "#include <grpcpp/server.h>\n"},
                      ["third_party::grpc"])
        self.expect("common_tensor", "must not link third_party::grpc")
        self.expect("t.h:1", "must not include grpcpp/server.h")

    def test_finds_third_party_that_is_not_declared(self):
        self.tree.add("common_tensor", "common/tensor", {"t.h": '#include "absl/time/time.h"\n'})
        self.expect("t.h:1", "needs third_party::absl_time")

    def test_finds_headers_of_nobody(self):
        for header in ('"absl/log/log.h"', "<absl/debugging/stacktrace.h>", "<liburing.h>",
                       "<zlib.h>", "<bits/stdc++.h>", "<experimental/simd>"):
            with self.subTest(header), tempfile.TemporaryDirectory() as folder:
                self.tree = Tree(folder)
                self.tree.add("scheduler_core", "services/scheduler/core",
                              {"a.h": f"#include <string>\n#include {header}\n"})
                self.expect("a.h:2", "does not say whose", header.strip('<">'))

    def test_every_header_has_one_owner(self):
        for header in RULES.system:
            self.assertIsNone(RULES.package(header), header)

    def test_accepts_headers_of_the_system(self):
        self.tree.add("common_tensor", "common/tensor",
                      {"t.h": "#include <vector>\n#include <sys/mman.h>\n#include <immintrin.h>\n"})
        self.assertEqual(self.tree.complaints(), [])

    def test_finds_files_without_and_with_two_owners(self):
        (self.tree.root / "common/log/lost.cc").write_text("")
        self.tree.add("common_log_again", "common/log", {"log.h": ""})
        self.expect("lost.cc", "no target lists this file")
        self.expect("log.h", "listed by common_log and common_log_again")

    def test_wants_the_own_header_first(self):
        self.tree.add("common_tensor", "common/tensor",
                      {"t.h": "", "t.cc": '#include <vector>\n#include "common/tensor/t.h"\n'})
        self.expect("t.cc", "must be its first include")

    def test_finds_a_folder_without_a_rule(self):
        self.tree.add("common_misc", "common/misc", {"m.h": ""})
        self.expect("common_misc", "says nothing of common/misc")

    def test_finds_folders_that_include_of_one_another(self):
        self.tree.add("gateway_options", "services/gateway", {"o.h": ""})
        self.tree.add("gateway_calls", "services/gateway/calls",
                      {"c.h": '#include "services/gateway/o.h"\n'}, ["gateway_options"])
        self.assertEqual(self.tree.complaints(), [])
        self.tree.add("gateway", "services/gateway",
                      {"g.h": '#include "services/gateway/calls/c.h"\n'}, ["gateway_calls"])
        self.expect("cycle of folders: services/gateway, services/gateway/calls:",
                    "services/gateway/calls/c.h:1 services/gateway/o.h",
                    "services/gateway/g.h:1 services/gateway/calls/c.h")

    def test_finds_cycles_through_a_third_folder(self):
        self.assertEqual(layers.strongly_connected(
            {"a": {"b", "x"}, "b": {"c"}, "c": {"a", "y"}, "x": {"y"}, "y": {"z"}, "d": {"d"}}),
            [("a", "b", "c")])

    def test_no_folder_falls_to_the_rule_of_the_one_above(self):
        self.tree.add("gateway_misc", "services/gateway/misc", {"m.h": "", "m.proto": ""})
        self.expect("gateway_misc", "says nothing of services/gateway/misc")
        self.expect("services/gateway/misc/m.h", "says nothing of it")
        with tempfile.TemporaryDirectory() as folder:
            self.tree = Tree(folder)
            self.tree.add("tool", "tools/misc", {"t.h": ""})
            self.assertEqual(self.tree.complaints(), [])

    def test_lets_each_folder_of_the_gateway_speak_its_own_protocol(self):
        allowed = {"<grpcpp/server.h>": ("calls", "clients"), "<boost/beast.hpp>": ("http", "loop")}
        folders = [folder for folder in RULES.layers if folder.startswith("services/gateway")]
        self.assertGreater(len(folders), 12)
        for header, speakers in allowed.items():
            for folder in folders:
                with self.subTest(header + folder), tempfile.TemporaryDirectory() as root:
                    self.tree = Tree(root)
                    self.tree.add("target", folder, {"a.h": f"#include {header}\n"},
                                  ["third_party::grpc", "third_party::beast"])
                    refused = any("a.h:1" in line and "must not include" in line
                                  for line in self.tree.complaints())
                    self.assertEqual(refused, folder.rpartition("/")[2] not in speakers)

    def test_finds_includes_that_do_not_start_at_the_root(self):
        self.tree.add("common_tensor", "common/tensor", {"t.h": '#include "other.h"\n'})
        self.expect("t.h:1", "is not a path from the root")


def function(lines):
    return "int F(int a) {\n" + "  a++;\n" * (lines - 2) + "}\n"


class Sizes(unittest.TestCase):
    def complaints(self, path, text):
        return "\n".join(sizes.check_file(path, text))

    def test_limits_functions(self):
        self.assertEqual(self.complaints("common/a.cc", function(70)), "")
        self.assertIn("F has 71 lines", self.complaints("common/a.cc", function(71)))
        self.assertEqual(self.complaints("kernels/a.cc", function(150)), "")
        self.assertIn("F has 151 lines", self.complaints("kernels/a.cc", function(151)))

    def test_limits_functions_of_python(self):
        method = "class A:\n    async def f(self):\n" + "        pass\n" * 69
        script = "#!/usr/bin/env python3\ndef f():\n" + "    pass\n" * 69
        for path, text in (("tests/e2e/test_a.py", method), ("tools/a", script)):
            self.assertEqual(self.complaints(path, text), "")
            self.assertIn(f"{path}:2: f has 71 lines, the limit is 70",
                          self.complaints(path, text + text.splitlines(True)[-1]))

    def test_sees_modules_and_scripts_of_python(self):
        files = {"a.py": "", "b.cmake": "", "c.h": "", "d": "#!/usr/bin/env python3\n",
                 "e": "#!/usr/bin/env bash\n", "f": "python\n", "g.md": "#!/usr/bin/python3\n"}
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in files.items():
                (root / name).write_text(text)
            subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
            self.assertEqual(sorted(sizes.source_files(root)), ["a.py", "b.cmake", "c.h", "d"])

    def test_limits_files(self):
        self.assertEqual(self.complaints("common/a.cc", "\n" * 400), "")
        self.assertIn("401 lines", self.complaints("common/a.cc", "\n" * 401))
        self.assertEqual(self.complaints("kernels/a.cc", "\n" * 500), "")
        self.assertIn("601 lines", self.complaints("tests/unit/a.cc", "\n" * 601))

    def test_limits_lines(self):
        for path, comment in (("common/a.cc", "//"), ("tests/e2e/test_a.py", "##"),
                              ("tools/cmake/A.cmake", "##")):
            self.assertIn(pathlib.PurePath(path).suffix, sizes.CHECKED)
            self.assertEqual(self.complaints(path, comment + "x" * 98), "")
            self.assertIn("101 columns", self.complaints(path, comment + "x" * 99))
            self.assertEqual(self.complaints(path, comment + " https://" + "x" * 99), "")

    def test_refuses_names_that_say_nothing(self):
        for name in ("block_manager.h", "request_handler.cc", "util.h"):
            self.assertIn("says what it is", self.complaints(f"common/{name}", "#pragma once\n"))
        self.assertIn("says what it is", self.complaints("tools/make_data", "#!/usr/bin/python3"))

    def test_refuses_unguarded_headers(self):
        self.assertIn("pragma once", self.complaints("common/a.h", "int x;\n"))

    def test_refuses_using_namespace_in_headers(self):
        text = "#pragma once\nusing namespace std;\n"
        self.assertIn("using namespace", self.complaints("common/a.h", text))


class Readmes(unittest.TestCase):
    def test_wants_one_in_larger_folders(self):
        three = ["common/a/a.h", "common/a/a.cc", "common/a/CMakeLists.txt", "common/a/b.h"]
        self.assertEqual(readmes.check(three), [])
        four = three + ["common/a/b.cc"]
        self.assertEqual(readmes.check(four),
                         ["common/a: 4 source files and no README.md; more than 3 need one"])
        self.assertEqual(readmes.check(four + ["common/a/README.md"]), [])
        self.assertEqual(len(readmes.check(four + ["common/README.md"])), 1)

    def test_wants_none_for_unit_tests(self):
        self.assertEqual(readmes.check(f"tests/unit/a/{name}_test.cc" for name in "abcde"), [])


class CommitMessages(unittest.TestCase):
    def test_limits_titles(self):
        self.assertEqual(commit_message.check("area: " + "x" * 65), [])
        self.assertIn("72 characters", commit_message.check("area: " + "x" * 66)[0])
        text = "\n# a comment\ntools/lint: do it\n\n" + "y" * 99
        self.assertEqual(commit_message.check(text), [])

    def test_wants_an_area_and_a_blank_line(self):
        for title in ("do it", "area:", ": do it", "area:do it"):
            self.assertIn("area and a colon", commit_message.check(title)[0])
        self.assertIn("blank line", commit_message.check("area: do it\nbecause")[0])

    def test_lets_git_write_its_own(self):
        for title in ("Revert \"" + "x" * 80, "fixup! do it", "Merge branch"):
            self.assertEqual(commit_message.check(title), [])


class Presets(unittest.TestCase):
    def test_names_those_that_do_not_configure(self):
        hidden = '{"name": "base", "hidden": true, "generator": "Ninja", "binaryDir": "build"}'
        lists = '{"name": "%s", "inherits": "base", "cacheVariables": {"KINDS": "%s"}}'
        text = '{"version": 6, "configurePresets": [%s, %s, %s]}' % (
            hidden, lists % ("one", "a"), lists % ("two", "a,b"))
        self.assertEqual(presets.presets(text), ["one", "two"])
        with tempfile.TemporaryDirectory() as root:
            (pathlib.Path(root) / "CMakePresets.json").write_text(text)
            (pathlib.Path(root) / "CMakeLists.txt").write_text(
                "cmake_minimum_required(VERSION 3.25)\nproject(planted NONE)\n"
                "file(GENERATE OUTPUT f CONTENT $<BOOL:${KINDS}>)\n")
            self.assertIsNone(presets.configure(root, "one"))
            self.assertIn("exactly one parameter", presets.configure(root, "two"))


class SourceText(unittest.TestCase):
    def names(self, text):
        return [name for _, _, name in source_text.functions(text)]

    def test_finds_functions_methods_and_tests(self):
        text = """
        namespace a { class B { int M() const { return 1; } B() : x_{1} { F({1, 2}); } int x_; };
        template <typename T> auto C(T t) -> int { if (t) { for (;;) { } } return 0; }
        TEST(Subject, Claims) { auto f = [] { return 1; }; }
        const int kTable[] = { 1, 2 };
        struct D Make() { return {}; }
        }"""
        names = self.names(text)
        for name in ("M", "B", "C", "TEST", "Make"):
            self.assertIn(name, names)
        self.assertEqual(len(source_text.functions("const int kTable[] = {\n 1,\n 2 };")), 0)

    def test_is_not_misled_by_literals(self):
        text = 'int F() { char c = \'{\'; auto s = "}"; auto r = R"x({{{)x"; return 1\'000; } // {\n'
        self.assertEqual([(1, 1, "F")], source_text.functions(text))


if __name__ == "__main__":
    unittest.main()
