// SPDX-License-Identifier: BSL-1.0
//
// A temporary directory that goes away with its owner, and whole-file reading and writing.

#pragma once

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <ios>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include <stdlib.h>

namespace cleave_test {

class temp_dir {
  public:
    temp_dir() {
        char const* const base = std::getenv("TMPDIR");
        std::string pattern{base != nullptr && *base != '\0' ? base : "/tmp"};
        pattern += "/cleave-test-XXXXXX";
        if (::mkdtemp(pattern.data()) == nullptr) {
            throw std::system_error{errno, std::generic_category(), "mkdtemp " + pattern};
        }
        path_ = pattern;
    }

    ~temp_dir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    temp_dir(temp_dir const&) = delete;
    temp_dir& operator=(temp_dir const&) = delete;

    std::filesystem::path const& path() const { return path_; }
    std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

  private:
    std::filesystem::path path_;
};

inline std::string read_file(std::filesystem::path const& path) {
    std::ifstream in{path, std::ios::binary};
    if (!in) {
        throw std::runtime_error{"cannot open " + path.string()};
    }
    std::string bytes;
    in.seekg(0, std::ios::end);
    if (auto const size = in.tellg(); size > 0) {
        bytes.resize(static_cast<std::size_t>(size));
        in.seekg(0);
        in.read(bytes.data(), static_cast<std::streamsize>(size));
        bytes.resize(static_cast<std::size_t>(in.gcount()));
    } else {
        // Nothing to seek in, as with a pipe or a file of /proc.
        in.clear();
        bytes.assign(std::istreambuf_iterator<char>{in}, {});
    }
    return bytes;
}

inline void write_file(std::filesystem::path const& path, std::string_view bytes) {
    std::ofstream out{path, std::ios::binary | std::ios::trunc};
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    out.close();
    if (!out) {
        throw std::runtime_error{"cannot write " + path.string()};
    }
}

} // namespace cleave_test
