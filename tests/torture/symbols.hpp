// SPDX-License-Identifier: BSL-1.0
//
// Which function of this program an address belongs to, as the symbol table in its file has it.
// Functions that were inlined are not to be found.

#pragma once

#include <support/temp_dir.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <elf.h>
#include <link.h>

namespace cleave_test::torture {

class program_symbols {
  public:
    /// Read once; call it first where memory may be had.
    [[nodiscard]] static program_symbols const& get() {
        static program_symbols const all;
        return all;
    }

    /// The mangled name; empty for an address that is not of this program.
    [[nodiscard]] std::string_view name_of(void const* address) const noexcept {
        auto const at = reinterpret_cast<std::uintptr_t>(address) - base_;
        auto const next =
            std::upper_bound(functions_.begin(), functions_.end(), at,
                             [](std::uintptr_t a, function const& f) { return a < f.first; });
        if (next == functions_.begin()) return {};
        function const& f = *std::prev(next);
        return at - f.first < f.size ? std::string_view{f.name} : std::string_view{};
    }

  private:
    struct function {
        std::uintptr_t first;
        std::uintptr_t size;
        char const* name; // in `file_`
    };

    program_symbols() : file_(read_file("/proc/self/exe")) {
        ::dl_iterate_phdr(
            [](dl_phdr_info* program, std::size_t, void* base) {
                *static_cast<std::uintptr_t*>(base) = program->dlpi_addr;
                return 1; // the first one is the program itself
            },
            &base_);
        auto const header = at<ElfW(Ehdr)>(0);
        for (std::size_t i = 0; i != header.e_shnum; ++i) {
            auto const table = section(header, i);
            if (table.sh_type != SHT_SYMTAB) continue;
            char const* const names = file_.data() + section(header, table.sh_link).sh_offset;
            for (std::size_t s = 0; s != table.sh_size / sizeof(ElfW(Sym)); ++s) {
                auto const symbol = at<ElfW(Sym)>(table.sh_offset + s * sizeof(ElfW(Sym)));
                if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC && symbol.st_size != 0)
                    functions_.push_back({symbol.st_value, symbol.st_size, names + symbol.st_name});
            }
        }
        std::sort(functions_.begin(), functions_.end(),
                  [](function const& a, function const& b) { return a.first < b.first; });
    }
    program_symbols(program_symbols const&) = delete;
    program_symbols& operator=(program_symbols const&) = delete;

    template <class T>
    [[nodiscard]] T at(std::size_t offset) const {
        T value;
        std::memcpy(&value, file_.data() + offset, sizeof value);
        return value;
    }
    [[nodiscard]] ElfW(Shdr) section(ElfW(Ehdr) const& header, std::size_t index) const {
        return at<ElfW(Shdr)>(header.e_shoff + index * header.e_shentsize);
    }

    std::string file_;
    std::uintptr_t base_ = 0;
    std::vector<function> functions_;
};

} // namespace cleave_test::torture
