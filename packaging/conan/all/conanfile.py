from conan import ConanFile
from conan.errors import ConanInvalidConfiguration
from conan.tools.build import check_min_cppstd
from conan.tools.files import copy, get
from conan.tools.layout import basic_layout
import os


required_conan_version = ">=2.0"


class CleaveConan(ConanFile):
    name = "cleave"
    description = "Downloads one remote object as many segments"
    license = "BSL-1.0"
    url = "https://github.com/conan-io/conan-center-index"
    homepage = "https://github.com/OWNER/cleave"
    topics = ("download", "http", "range-requests", "asio", "header-only")
    package_type = "header-library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"tls": [True, False]}
    default_options = {"tls": True}
    no_copy_source = True

    def layout(self):
        basic_layout(self, src_folder="src")

    def requirements(self):
        self.requires("asio/1.30.2")
        if self.options.tls:
            self.requires("openssl/[>=3 <4]")

    def package_id(self):
        self.info.clear()

    def validate(self):
        check_min_cppstd(self, 20)
        if self.settings.os == "Windows":
            raise ConanInvalidConfiguration(f"{self.ref} needs a POSIX system.")

    def source(self):
        get(self, **self.conan_data["sources"][self.version], strip_root=True)

    def build(self):
        pass

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        copy(self, "*.hpp", os.path.join(self.source_folder, "include"),
             os.path.join(self.package_folder, "include"))

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "cleave")

        core = self.cpp_info.components["core"]
        core.set_property("cmake_target_name", "cleave::core")
        core.set_property("pkg_config_name", "cleave-core")

        everything = self.cpp_info.components["cleave"]
        everything.set_property("cmake_target_name", "cleave::cleave")
        everything.set_property("pkg_config_name", "cleave")
        everything.requires = ["core", "asio::asio"]
        if self.options.tls:
            everything.requires.append("openssl::openssl")
        everything.defines = ["ASIO_STANDALONE"]
        if self.settings.os in ["Linux", "FreeBSD"]:
            everything.system_libs = ["pthread"]

        for component in (core, everything):
            component.bindirs = []
            component.libdirs = []
