// SPDX-License-Identifier: BSL-1.0
//
// Stands in for the fuzzing engine: runs a fuzz target once over every file it is given, so that
// inputs found earlier are tried again by any compiler and in every test run.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

namespace {

namespace fs = std::filesystem;

// In the order of their names, so that two runs fail at the same input.
std::vector<fs::path> files_in(fs::path const& where) {
    std::vector<fs::path> files;
    if (fs::is_directory(where)) {
        for (auto const& entry : fs::recursive_directory_iterator(where)) {
            if (entry.is_regular_file()) files.push_back(entry.path());
        }
        std::sort(files.begin(), files.end());
    } else if (fs::exists(where)) {
        files.push_back(where);
    }
    return files;
}

void replay(std::string const& input) {
    // A copy of exactly this size lets the address sanitizer see a read past its end.
    std::vector<std::uint8_t> const bytes(input.begin(), input.end());
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

} // namespace

int main(int argc, char* argv[]) {
    std::size_t count = 0;
    for (int i = 1; i < argc; ++i) {
        for (auto const& path : files_in(argv[i])) {
            std::cout << path.filename().string() << std::endl; // flushed: it may be the last word
            std::ifstream file(path, std::ios::binary);
            replay({std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()});
            ++count;
        }
    }
    std::cout << count << " inputs replayed\n";
    if (count == 0) {
        std::cerr << "no input found: give a file, or a folder that holds some\n";
        return 1;
    }
    replay("");
}
