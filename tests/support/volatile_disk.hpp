// SPDX-License-Identifier: BSL-1.0
//
// A disk in memory on which nothing lasts that was not synced: when the power fails, each write,
// each change of a length and each change of a name since then is kept or lost on its own, and a
// write sector by sector. And a file on it that models cleave's `file`. Unlike `memory_disk` it has
// no limits and plans no faults. For one thread.

#pragma once

#include <cleave/base/error.hpp>
#include <cleave/os/concept.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace cleave_test {

namespace detail {

// Bytes, and what was done to them since the last sync.
struct volatile_inode {
    // A write, or with `size` a new length.
    struct change {
        std::uint64_t offset = 0;
        std::string bytes;
        std::optional<std::uint64_t> size;
    };

    std::string bytes;   // as everybody sees them
    std::string durable; // without the changes
    std::vector<change> changes;
    std::weak_ptr<bool> lock; // whoever has it open

    static void write(std::string& to, std::uint64_t offset, char const* from, std::size_t n) {
        auto const at = static_cast<std::size_t>(offset);
        if (to.size() < at + n) to.resize(at + n);
        std::memcpy(to.data() + at, from, n);
    }
    void sync() {
        for (change const& c : changes) {
            if (c.size)
                durable.resize(static_cast<std::size_t>(*c.size));
            else
                write(durable, c.offset, c.bytes.data(), c.bytes.size());
        }
        changes.clear();
    }
};

using volatile_names = std::map<std::string, std::shared_ptr<volatile_inode>>;

// One change of a directory: `inode` is from now on at `to`, and no longer at `from`. Either may be
// empty: a new file, a removed one.
struct volatile_rename {
    std::shared_ptr<volatile_inode> inode;
    std::string from;
    std::string to;

    void apply(volatile_names& names) const {
        auto const old = names.find(from);
        if (old != names.end() && old->second == inode) names.erase(old);
        if (!to.empty()) names[to] = inode;
    }
    [[nodiscard]] std::string const& path() const noexcept { return to.empty() ? from : to; }
};

inline std::string directory_of(std::string const& path) {
    return path.substr(0, path.find_last_of('/') + 1);
}

} // namespace detail

/// A disk; copies are handles on the same one.
class volatile_disk {
  public:
    static constexpr std::size_t sector = 512;

    /// The power fails within this call of a file's, counted from 0 since the last `crash` or
    /// `kill`: it fails with EIO, and whatever it did is unsynced. From then on each fails with
    /// EIO and does nothing.
    void power_fails_at(std::size_t nth) { state_->power_fails_at = nth; }
    /// Calls since the last `crash` or `kill`, up to the one in which the power failed.
    [[nodiscard]] std::size_t calls() const noexcept { return state_->calls; }

    /// A durable file.
    void put(std::string const& path, std::string bytes) {
        auto inode = std::make_shared<detail::volatile_inode>();
        inode->durable = bytes;
        inode->bytes = std::move(bytes);
        state_->names[path] = state_->durable_names[path] = std::move(inode);
    }
    [[nodiscard]] bool exists(std::string const& path) const {
        return state_->names.contains(path);
    }
    /// The file's bytes; empty when there is none.
    [[nodiscard]] std::string bytes(std::string const& path) const {
        auto const found = state_->names.find(path);
        return found == state_->names.end() ? std::string{} : found->second->bytes;
    }
    [[nodiscard]] std::vector<std::string> names() const {
        std::vector<std::string> all;
        for (auto const& [name, inode] : state_->names) all.push_back(name);
        return all;
    }

    /// The process is gone and the power still there: all that was done is seen, nobody has a lock.
    void kill() {
        for (auto const& [name, inode] : state_->names) inode->lock.reset();
        state_->restart();
    }

    /// The power fails, if it has not yet, and comes back. `choose(n)` answers with a number below
    /// `n` and decides everything: first how many of a hundred are kept, then for each change
    /// whether it is one of those. Changes of a file may reach the disk in any order and each of
    /// their sectors on its own, the last one not even in whole sectors; changes of names reach it
    /// in order, but not all of them. So with 0 for each answer all is lost, with `n - 1` all kept.
    ///
    /// Files that are still open belong to the time before: they change nothing any more.
    template <class Choose>
    void crash(Choose choose) {
        std::uint64_t const percent = choose(std::uint64_t{101});
        auto const kept = [&] { return choose(std::uint64_t{100}) < percent; };

        detail::volatile_names names = std::move(state_->durable_names);
        for (detail::volatile_rename const& r : state_->renames)
            if (kept()) r.apply(names);
        // New inodes, so that whoever has the old ones open has nothing.
        for (auto& [name, inode] : names) {
            auto survivor = std::make_shared<detail::volatile_inode>();
            survivor->durable = after_crash(*inode, choose, kept);
            survivor->bytes = survivor->durable;
            inode = std::move(survivor);
        }
        state_->names = names;
        state_->durable_names = std::move(names);
        state_->renames.clear();
        state_->restart();
    }

  private:
    friend class volatile_file;

    struct state {
        std::size_t power_fails_at = std::numeric_limits<std::size_t>::max();
        std::size_t calls = 0;
        detail::volatile_names names;
        detail::volatile_names durable_names;
        std::vector<detail::volatile_rename> renames; // that are not durable

        [[nodiscard]] bool power_failed() const noexcept { return calls > power_fails_at; }
        void restart() {
            power_fails_at = std::numeric_limits<std::size_t>::max();
            calls = 0;
        }
        void rename(detail::volatile_rename r) {
            r.apply(names);
            renames.push_back(std::move(r));
        }
        void sync_directory(std::string const& path) {
            std::erase_if(renames, [&](detail::volatile_rename const& r) {
                if (detail::directory_of(r.path()) != detail::directory_of(path)) return false;
                r.apply(durable_names);
                return true;
            });
        }
    };

    template <class Choose, class Kept>
    static std::string after_crash(detail::volatile_inode const& file, Choose& choose, Kept& kept) {
        std::string bytes = file.durable;
        std::vector<detail::volatile_inode::change const*> order;
        for (auto const& c : file.changes) order.push_back(&c);
        for (std::size_t i = order.size(); i-- > 1;)
            std::swap(order[i], order[static_cast<std::size_t>(choose(std::uint64_t{i + 1}))]);
        for (auto const* const c : order) {
            if (c->size) {
                if (kept()) bytes.resize(static_cast<std::size_t>(*c->size));
                continue;
            }
            std::size_t n = c->bytes.size();
            if (c == order.back()) n = static_cast<std::size_t>(choose(std::uint64_t{n + 1}));
            for (std::size_t at = 0; at < n;) {
                std::size_t const in_sector = static_cast<std::size_t>(c->offset + at) % sector;
                std::size_t const part = std::min(n - at, sector - in_sector);
                if (kept())
                    detail::volatile_inode::write(bytes, c->offset + at, c->bytes.data() + at,
                                                  part);
                at += part;
            }
        }
        return bytes;
    }

    std::shared_ptr<state> state_ = std::make_shared<state>();
};

/// A file on a volatile disk, as `cleave::posix_file` is one on a real disk: it is synced, and with
/// it its directory the first time; renaming syncs the directory, removing does not. Move-only;
/// closing it leaves the file where it is.
class volatile_file {
  public:
    explicit volatile_file(volatile_disk const& disk) : disk_(disk.state_) {}
    volatile_file(volatile_file&& other) noexcept = default;
    volatile_file& operator=(volatile_file&&) = delete;

    void check_target(std::string const& target, std::error_code& ec) const {
        call(ec, [&] { may_be_target(target, ec); });
    }

    void open_partial(std::string const& path, std::error_code& ec) {
        call(ec, [&] {
            take(path, true, ec);
            if (!ec) change_size(0);
        });
    }
    void reopen_partial(std::string const& path, std::error_code& ec) {
        call(ec, [&] { take(path, false, ec); });
    }
    void open_journal(std::string const& path, std::error_code& ec) {
        call(ec, [&] { take(path, true, ec); });
    }
    void open_finished(std::string const& target, std::error_code& ec) {
        call(ec, [&] { find(target, ec); });
    }

    [[nodiscard]] std::uint64_t size(std::error_code& ec) const {
        std::uint64_t n = 0;
        call(ec, [&] {
            if (is_open(ec)) n = inode_->bytes.size();
        });
        return n;
    }
    void allocate(std::uint64_t size, std::error_code& ec) {
        call(ec, [&] {
            if (may_be_written(ec) && inode_->bytes.size() < size) change_size(size);
        });
    }
    void write_at(std::uint64_t offset, std::span<std::byte const> from, std::error_code& ec) {
        call(ec, [&] {
            if (!may_be_written(ec) || from.empty()) return;
            std::string bytes(from.size(), '\0');
            std::memcpy(bytes.data(), from.data(), from.size());
            detail::volatile_inode::write(inode_->bytes, offset, bytes.data(), bytes.size());
            inode_->changes.push_back({offset, std::move(bytes), std::nullopt});
        });
    }
    void read_at(std::uint64_t offset, std::span<std::byte> to, std::error_code& ec) const {
        call(ec, [&] {
            if (!is_open(ec)) return;
            std::uint64_t const size = inode_->bytes.size();
            if (offset > size || to.size() > size - offset)
                ec = cleave::error::partial_replaced;
            else if (!to.empty())
                std::memcpy(to.data(), inode_->bytes.data() + static_cast<std::size_t>(offset),
                            to.size());
        });
    }
    void resize(std::uint64_t size, std::error_code& ec) {
        call(ec, [&] {
            if (may_be_written(ec)) change_size(size);
        });
    }

    void sync(std::error_code& ec) {
        call(ec, [&] {
            if (!is_open(ec) || disk_->power_failed()) return;
            inode_->sync();
            if (!std::exchange(name_synced_, true)) disk_->sync_directory(path_);
        });
    }
    void publish(std::string const& target, std::error_code& ec) {
        call(ec, [&] {
            may_be_target(target, ec);
            if (!ec && !is_ours()) ec = cleave::error::partial_replaced;
            if (ec) return;
            disk_->rename({inode_, path_, target});
            if (!disk_->power_failed()) disk_->sync_directory(target);
            release();
        });
    }
    void discard() noexcept {
        std::error_code ec;
        call(ec, [&] {
            if (lock_ && is_ours()) disk_->rename({inode_, path_, {}});
            release();
        });
    }
    void close() noexcept {
        std::error_code ec;
        call(ec, [&] { release(); });
    }

  private:
    template <class F>
    void call(std::error_code& ec, F f) const {
        if (!disk_->power_failed()) {
            ++disk_->calls;
            f();
        }
        if (disk_->power_failed()) ec = {EIO, std::system_category()};
    }

    void change_size(std::uint64_t size) {
        if (size == inode_->bytes.size()) return;
        inode_->bytes.resize(static_cast<std::size_t>(size));
        inode_->changes.push_back({0, {}, size});
    }

    // The file of that name.
    void find(std::string const& path, std::error_code& ec) {
        release();
        auto const found = disk_->names.find(path);
        if (found == disk_->names.end()) {
            ec = {ENOENT, std::system_category()};
            return;
        }
        inode_ = found->second;
        path_ = path;
        name_synced_ = false;
    }
    void take(std::string const& path, bool create, std::error_code& ec) {
        if (create && !disk_->names.contains(path))
            disk_->rename({std::make_shared<detail::volatile_inode>(), {}, path});
        find(path, ec);
        if (ec) return;
        if (inode_->lock.expired()) {
            inode_->lock = lock_ = std::make_shared<bool>(true);
        } else {
            inode_.reset();
            ec = cleave::error::target_busy;
        }
    }
    void release() noexcept {
        inode_.reset();
        lock_.reset();
    }

    static void may_be_target(std::string const& target, std::error_code& ec) {
        if (target.empty() || target.back() == '/') ec = cleave::error::target_is_directory;
    }
    [[nodiscard]] bool is_open(std::error_code& ec) const {
        if (!inode_) ec = {EBADF, std::system_category()};
        return inode_ != nullptr;
    }
    // Only what is locked may; a finished file is not.
    [[nodiscard]] bool may_be_written(std::error_code& ec) const {
        if (!lock_) ec = {EBADF, std::system_category()};
        return lock_ != nullptr;
    }
    // Whether the partial's name still leads to the file that is open here.
    [[nodiscard]] bool is_ours() const {
        auto const found = disk_->names.find(path_);
        return inode_ && found != disk_->names.end() && found->second == inode_;
    }

    std::shared_ptr<volatile_disk::state> disk_;
    std::shared_ptr<detail::volatile_inode> inode_;
    std::shared_ptr<bool> lock_;
    std::string path_;
    bool name_synced_ = false;
};

static_assert(cleave::file<volatile_file>);

} // namespace cleave_test
