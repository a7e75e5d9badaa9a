#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
#
# Runs Conan's recipe with stand-ins for Conan's modules: that its versions are the library's, what it
# requires with and without TLS, and that it packages the headers.
#
#     conan.py <cleave> <empty folder>

import re
import shutil
import sys
import types
from pathlib import Path
from types import SimpleNamespace

source, package = map(Path, sys.argv[1:])
recipe = source / "packaging/conan/all"


class ConanFile:
    def __init__(self, tls=True, system="Linux"):
        self.ref = "cleave"
        self.options = SimpleNamespace(tls=tls)
        self.settings = SimpleNamespace(os=system)
        self.source_folder, self.package_folder = source, package
        self.required = []
        self.requires = self.required.append
        self.info = SimpleNamespace(clear=lambda: None)
        self.cpp_info = Component()
        self.cpp_info.components = {"core": Component(), "cleave": Component()}


class Component:
    def __init__(self):
        self.properties = {}
        self.requires = []

    def set_property(self, name, value):
        self.properties[name] = value


def copy(_, pattern, src, dst):
    for file in Path(src).glob("**/" + pattern if "*" in pattern else pattern):
        to = Path(dst) / file.relative_to(src)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, to)


class ConanInvalidConfiguration(Exception):
    pass


def module(name, **members):
    made = sys.modules[name] = types.ModuleType(name)
    vars(made).update(members)


standards = []
nothing = lambda *_, **__: None
module("conan", ConanFile=ConanFile)
module("conan.errors", ConanInvalidConfiguration=ConanInvalidConfiguration)
module("conan.tools")
module("conan.tools.build", can_run=nothing,
       check_min_cppstd=lambda _, standard: standards.append(standard))
module("conan.tools.cmake", CMake=nothing, cmake_layout=nothing)
module("conan.tools.files", copy=copy, get=nothing)
module("conan.tools.layout", basic_layout=nothing)


def load(path):
    names = {}
    exec(compile(path.read_text(), path, "exec"), names)
    return names


# Its versions.
text = (source / "include/cleave/base/version.hpp").read_text()
version = re.search(r'version_string = "([^"]+)"', text)[1]
assert f'  "{version}":\n    folder: all\n' in (recipe.parent / "config.yml").read_text()
data = (recipe / "conandata.yml").read_text()
assert f'  "{version}":\n    url: ' in data and f"/v{version}.tar.gz" in data

# What it requires, and what it tells those who build with it.
Recipe = load(recipe / "conanfile.py")["CleaveConan"]
assert Recipe.name == "cleave" and Recipe.license == "BSL-1.0"
assert Recipe.package_type == "header-library" and Recipe.default_options == {"tls": True}
for tls in Recipe.options["tls"]:
    it = Recipe(tls)
    it.requirements()
    it.package_info()
    names = {required.split("/")[0] for required in it.required}
    assert names == ({"asio", "openssl"} if tls else {"asio"}), names
    core, everything = (it.cpp_info.components[c] for c in ("core", "cleave"))
    assert core.properties["cmake_target_name"] == "cleave::core" and core.requires == []
    assert everything.properties["cmake_target_name"] == "cleave::cleave"
    assert {r.split("::")[0] for r in everything.requires} == names | {"core"}

# Where it can be used.
Recipe().validate()
assert standards == [20]
try:
    Recipe(system="Windows").validate()
    sys.exit("it says nothing of Windows")
except ConanInvalidConfiguration:
    pass

# What it packages.
Recipe().package()
assert (package / "licenses/LICENSE").exists()
for header in (source / "include").rglob("*.hpp"):
    assert (package / "include" / header.relative_to(source / "include")).exists(), header

load(recipe / "test_package/conanfile.py")
