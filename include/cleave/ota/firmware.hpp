// SPDX-License-Identifier: BSL-1.0
//
// What a platform tells of new firmware, and whether it can be worked with. Knows nothing of the
// format that it came in.
#pragma once

#include <cleave/base/url.hpp>
#include <cleave/ota/error.hpp>
#include <cleave/verify/digest.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace cleave {

/// One file of a firmware.
struct firmware_file {
    std::string url;
    /// In bytes.
    std::uint64_t size = 0;
    /// The digest's method as the platform writes it: `SHA256`, `Sha256`, `sha-256`, `Md5`, `MD5`.
    std::string method;
    /// In hexadecimal digits of either case.
    std::string digest;
    /// What the platform calls it; may be empty.
    std::string name{};
};

/// A firmware: for which module, in which version, and the files that it is made of. Plain data.
struct firmware {
    /// The part of the device that it is for. A device with one part has the module "default".
    std::string module = "default";
    /// The version that the device is to report in the end.
    std::string version;
    std::vector<firmware_file> files;
    /// Whatever else the platform sent along, for the device; never looked at here.
    std::string extra{};

    /// Bytes of all files.
    [[nodiscard]] std::uint64_t size() const noexcept {
        std::uint64_t sum = 0;
        for (firmware_file const& f : files) sum += f.size;
        return sum;
    }
};

/// The longest name of a module or a version, in bytes.
inline constexpr std::size_t longest_firmware_name = 64;

/// Why a firmware cannot be worked with.
struct firmware_fault {
    std::error_code why;
    /// Which file, where it is one.
    std::optional<std::size_t> file{};

    /// For people: which file, what is wrong, and what to do.
    [[nodiscard]] std::string message(firmware const& of) const {
        if (!file) return why.message();
        std::string text = "file " + std::to_string(*file + 1);
        if (*file < of.files.size() && !of.files[*file].name.empty())
            text += " (" + of.files[*file].name + ")";
        return text + ": " + why.message();
    }
};

/// The first thing wrong with a firmware, or nothing.
[[nodiscard]] inline std::optional<firmware_fault> find_firmware_fault(firmware const& f) {
    if (f.module.empty()) return firmware_fault{update_error::no_module};
    if (f.version.empty()) return firmware_fault{update_error::no_version};
    if (std::max(f.module.size(), f.version.size()) > longest_firmware_name)
        return firmware_fault{update_error::name_too_long};
    if (f.files.empty()) return firmware_fault{update_error::no_file};
    std::uint64_t room = std::uint64_t{1} << 62;
    for (std::size_t i = 0; i != f.files.size(); ++i) {
        firmware_file const& file = f.files[i];
        std::error_code ec;
        (void)url::parse(file.url, ec);
        if (ec) return firmware_fault{ec, i};
        if (file.size == 0) return firmware_fault{update_error::file_without_size, i};
        if (file.size > room) return firmware_fault{error::object_too_large, i};
        room -= file.size;
        if (file.digest.empty()) return firmware_fault{update_error::digest_missing, i};
        auto const method = parse_digest_algorithm(file.method);
        if (!method) return firmware_fault{update_error::digest_method_unknown, i};
        if (file.digest.size() != 2 * digest_size(*method))
            return firmware_fault{update_error::digest_wrong_length, i};
        if (!parse_digest(*method, file.digest))
            return firmware_fault{update_error::digest_not_hexadecimal, i};
    }
    return std::nullopt;
}

/// A firmware of one file; `ec` says what is unfit, as `find_firmware_fault` does.
[[nodiscard]] inline firmware make_firmware(std::string module, std::string version,
                                            firmware_file file, std::error_code& ec) {
    firmware f{std::move(module), std::move(version), {std::move(file)}, {}};
    if (auto const fault = find_firmware_fault(f)) ec = fault->why;
    return f;
}

namespace detail {
[[nodiscard]] inline std::uint64_t hash_text(std::string_view text, std::uint64_t from) noexcept {
    // With its length, so that two texts in a row cannot change places.
    std::string const size = std::to_string(text.size()) + ':';
    from = expectation_hash(std::as_bytes(std::span{size}), from);
    return expectation_hash(std::as_bytes(std::span{text}), from);
}
} // namespace detail

/// Tells one firmware from another: the same for the same module, version, sizes and digests,
/// wherever the files are to be had. Never 0. Of a fit firmware.
[[nodiscard]] inline std::uint64_t fingerprint(firmware const& f) noexcept {
    std::uint64_t h = detail::hash_text(f.module, detail::expectation_of_nothing);
    h = detail::hash_text(f.version, h);
    for (firmware_file const& file : f.files) {
        h = detail::hash_text(std::to_string(file.size), h);
        auto const method = parse_digest_algorithm(file.method);
        if (!method) continue;
        h = detail::hash_text(to_string(*method), h);
        if (auto const value = parse_digest(*method, file.digest))
            h = detail::expectation_hash(value->view(), h);
    }
    return h;
}

} // namespace cleave
