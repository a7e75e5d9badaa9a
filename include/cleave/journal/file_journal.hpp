// SPDX-License-Identifier: BSL-1.0
//
// What is in place is written down in a small file, beside the target or elsewhere.
#pragma once

#include <cleave/journal/concept.hpp>
#include <cleave/journal/two_slots.hpp>
#include <cleave/os/concept.hpp>
#include <cleave/os/posix_file.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>

namespace cleave {

/// Keeps its state in a file of 128 KiB, room for some 3000 runs, that only its owner may
/// read. The file is locked while the download runs and gone when it is done.
///
/// A crash of the program loses at most what came since the last `store`. So that a power cut
/// loses no more either, ask for it: `file_journal{}.durably()`.
template <file File>
class basic_file_journal {
  public:
    /// The file is `NAME.cleave` beside the target `NAME`; nothing is kept of a download without.
    basic_file_journal() = default;
    explicit basic_file_journal(File f) : file_(std::move(f)) {}
    /// The file is `path`. One download at a time has it.
    explicit basic_file_journal(std::string path, File f = File{})
        : path_(std::move(path)), file_(std::move(f)) {}

    basic_file_journal(basic_file_journal&&) noexcept = default;
    basic_file_journal& operator=(basic_file_journal&&) noexcept = default;
    /// A copy has the same settings, and nothing open; so that policies can be copied before they
    /// are used.
    basic_file_journal(basic_file_journal const& other)
        : path_(other.path_), file_(another(other.file_)), interval_(other.interval_),
          durable_(other.durable_) {}
    ~basic_file_journal() = default;

    /// The same, but what it holds survives a power cut, for some milliseconds each time.
    [[nodiscard]] basic_file_journal durably() && {
        durable_ = true;
        return std::move(*this);
    }
    /// The same, but told that often.
    [[nodiscard]] basic_file_journal every(journal_interval interval) && {
        interval_ = interval;
        return std::move(*this);
    }

    [[nodiscard]] bool keeps(std::string const& target) const noexcept {
        return !path_.empty() || !target.empty();
    }
    [[nodiscard]] std::optional<resume_state> open(std::string const& target, std::error_code& ec) {
        file_.open_journal(path_.empty() ? target + ".cleave" : path_, ec);
        if (ec) return std::nullopt;
        // Once the disk is full, it is too late to make room for a record of what is there.
        std::error_code ignored;
        file_.allocate(2 * slot_size, ignored);
        return slots_.open(
            [this](unsigned slot, std::span<std::byte> to) { return load(begin_of(slot), to); });
    }
    void store(resume_state const& state, std::error_code& ec) {
        auto const save = [this](unsigned slot, std::span<std::byte const> from,
                                 std::error_code& failed) {
            file_.write_at(begin_of(slot), from, failed);
        };
        slots_.store(state, save, ec);
        if (!ec && durable_) file_.sync(ec);
    }
    void remove(std::error_code&) noexcept { file_.discard(); }

    [[nodiscard]] bool durable() const noexcept { return durable_; }
    [[nodiscard]] journal_interval interval() const noexcept { return interval_; }

  private:
    static constexpr std::size_t slot_size = 64 * 1024;

    [[nodiscard]] static std::uint64_t begin_of(unsigned slot) noexcept {
        return std::uint64_t{slot} * slot_size;
    }

    [[nodiscard]] static File another(File const& f) {
        if constexpr (std::copy_constructible<File>)
            return f;
        else
            return File{};
    }

    // What cannot be read holds nothing.
    [[nodiscard]] std::size_t load(std::uint64_t from, std::span<std::byte> to) {
        std::error_code ec;
        std::uint64_t const size = file_.size(ec);
        if (ec || size <= from) return 0;
        auto const there =
            to.first(static_cast<std::size_t>(std::min<std::uint64_t>(to.size(), size - from)));
        file_.read_at(from, there, ec);
        return ec ? 0 : there.size();
    }

    std::string path_;
    File file_;
    detail::two_slots slots_{slot_size};
    journal_interval interval_;
    bool durable_ = false;
};

/// A journal beside the partial file. The default.
using file_journal = basic_file_journal<posix_file>;

static_assert(resume_journal<file_journal>);

} // namespace cleave
