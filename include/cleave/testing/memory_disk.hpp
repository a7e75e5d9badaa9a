// SPDX-License-Identifier: BSL-1.0
//
// A disk in memory that can be full, fail at a chosen call, and lose any part of what was not
// synced when its power fails; and a file on it that models cleave's `file`, for
// `cleave::basic_file_sink<memory_file>` and `cleave::basic_file_journal<memory_file>`. For one
// thread. Knows nothing of downloads.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/os/concept.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace cleave::testing {

namespace detail {

// A file, whatever its names are, and what was done to it since the last sync.
struct memory_inode {
    enum class kind { regular, directory, other };
    // A write, or with `size` a new length.
    struct change {
        std::uint64_t offset = 0;
        std::string bytes;
        std::optional<std::uint64_t> size;
    };

    kind is = kind::regular;
    std::string bytes;   // as everybody sees them
    std::string durable; // without the changes
    std::vector<change> changes;
    std::uint64_t room = 0;   // that it has on the disk
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
    // As a system does that could not write its pages back: it takes them for clean, and says so
    // once. Lengths are no pages; they are kept, and reach the disk with the next sync.
    void lose_unsynced_bytes() {
        std::uint64_t size = durable.size();
        for (change& c : changes) {
            size = c.size ? *c.size : std::max<std::uint64_t>(size, c.offset + c.bytes.size());
            c = {.offset = 0, .bytes = {}, .size = size};
        }
    }
};

using memory_names = std::map<std::string, std::shared_ptr<memory_inode>>;

// One change of a directory: `inode` is from now on at `to`, and no longer at `from`. Either may be
// empty: a new file, a removed one.
struct memory_rename {
    std::shared_ptr<memory_inode> inode;
    std::string from;
    std::string to;

    void apply(memory_names& names) const {
        auto const old = names.find(from);
        if (old != names.end() && old->second == inode) names.erase(old);
        if (!to.empty()) names[to] = inode;
    }
    [[nodiscard]] std::string const& path() const noexcept { return to.empty() ? from : to; }
};

inline std::string_view directory_of(std::string_view path) {
    return path.substr(0, path.find_last_of('/') + 1);
}

} // namespace detail

/// A disk; copies are handles on the same one. Directories are what stands before the last slash of
/// a path, and need not be made.
class memory_disk {
  public:
    /// What is lost or kept at one time.
    static constexpr std::size_t sector = 512;
    /// The greatest file; beyond is EFBIG. Holes are memory, too.
    static constexpr std::uint64_t max_size = std::uint64_t{1} << 30;

    /// One call of a file's. `operation` is the name of the concept's function.
    struct call {
        std::string operation;
        std::string path;
        std::uint64_t offset = 0;
        std::uint64_t size = 0;
        std::error_code ec{};
        /// Of a `write_at`, while the call lasts: what is to be written. Empty in the log.
        std::span<std::byte const> bytes{};

        friend bool operator==(call const& a, call const& b) noexcept {
            return a.operation == b.operation && a.path == b.path && a.offset == b.offset &&
                   a.size == b.size && a.ec == b.ec;
        }
    };

    // --- faults

    /// Room for so many bytes, for all files together; beyond is ENOSPC, and nothing is written.
    void capacity(std::uint64_t bytes) noexcept { state_->capacity = bytes; }

    /// Makes the nth call of this operation from now on, counted from 0, fail with a code of the
    /// system, and do nothing else; of any operation where it is empty. Faults of several calls of
    /// this function are counted side by side.
    ///
    /// A `sync` that fails with EIO loses all bytes that were written since the last one: they can
    /// be read back, as before, but a later `sync` says that all is well and they are not on the
    /// disk. Systems do that. `publish` fails before it renames; `close` closes all the same.
    void fail(std::string operation, std::size_t nth, int errno_value) {
        state_->faults.push_back({std::move(operation), nth, errno_value});
    }

    /// `f` is asked before each call does anything: where it answers with an error, the call fails
    /// with that, as with `fail`. It must not throw. Only files' calls are such; `put` is none.
    void on_call(std::function<std::error_code(call const&)> f) { state_->on_call = std::move(f); }

    /// The power fails within this call of a file's, counted from 0 since the last `crash` or
    /// `kill`: it fails with EIO, and whatever it did is unsynced. From then on each fails with
    /// EIO and does nothing, until `crash`.
    void power_fails_at(std::size_t nth) noexcept { state_->power_fails_at = nth; }
    /// Calls since the last `crash` or `kill`, up to the one in which the power failed.
    [[nodiscard]] std::size_t calls() const noexcept { return state_->calls; }

    /// The process is gone and the power still there: all that was done is seen, nobody has a lock.
    /// Files that are still open belong to the time before: they change nothing any more.
    void kill() {
        std::map<detail::memory_inode*, std::shared_ptr<detail::memory_inode>> successors;
        auto const succeed = [&](std::shared_ptr<detail::memory_inode>& inode) {
            auto& successor = successors[inode.get()];
            if (!successor) {
                successor = std::make_shared<detail::memory_inode>(std::move(*inode));
                successor->lock.reset();
                *inode = {};
            }
            inode = successor;
        };
        for (auto& [name, inode] : state_->names) succeed(inode);
        for (auto& [name, inode] : state_->durable_names) succeed(inode);
        for (detail::memory_rename& r : state_->renames) succeed(r.inode);
        state_->restart();
    }

    /// The power fails, if it has not yet, and comes back; all that was not synced is lost.
    void crash() {
        crash([](std::uint64_t) { return std::uint64_t{0}; });
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

        detail::memory_names names = std::move(state_->durable_names);
        for (detail::memory_rename const& r : state_->renames)
            if (kept()) r.apply(names);
        // New inodes, so that whoever has the old ones open has nothing.
        for (auto& [name, inode] : names) {
            auto survivor = std::make_shared<detail::memory_inode>();
            survivor->is = inode->is;
            survivor->durable = after_crash(*inode, choose, kept);
            survivor->bytes = survivor->durable;
            survivor->room = survivor->bytes.size();
            inode = std::move(survivor);
        }
        state_->names = names;
        state_->durable_names = std::move(names);
        state_->renames.clear();
        state_->restart();
    }

    // --- what is on it

    /// A durable file, and what else there may be under a name.
    void put(std::string const& path, std::string bytes) {
        state_->sync_directory(path);
        auto inode = std::make_shared<detail::memory_inode>();
        inode->room = bytes.size();
        inode->durable = bytes;
        inode->bytes = std::move(bytes);
        state_->names[path] = state_->durable_names[path] = std::move(inode);
    }
    void make_directory(std::string const& path) {
        put(path, {});
        state_->names[path]->is = detail::memory_inode::kind::directory;
    }
    void make_device(std::string const& path) {
        put(path, {});
        state_->names[path]->is = detail::memory_inode::kind::other;
    }
    /// As somebody else would: durably, and whoever has it open still has it.
    void remove(std::string const& path) {
        state_->sync_directory(path);
        state_->names.erase(path);
        state_->durable_names.erase(path);
    }

    [[nodiscard]] bool exists(std::string const& path) const {
        return state_->names.contains(path);
    }
    /// The file's bytes; empty when there is none.
    [[nodiscard]] std::string bytes(std::string const& path) const {
        auto const found = state_->names.find(path);
        return found == state_->names.end() ? std::string{} : found->second->bytes;
    }
    /// The bytes that would be there if all that was not synced were lost; empty when there would
    /// be no file.
    [[nodiscard]] std::string durable_bytes(std::string const& path) const {
        auto const found = state_->durable_names.find(path);
        return found == state_->durable_names.end() ? std::string{} : found->second->durable;
    }
    /// The same two, without a copy: good until the file changes.
    [[nodiscard]] std::string_view view(std::string const& path) const {
        auto const found = state_->names.find(path);
        return found == state_->names.end() ? std::string_view{} : found->second->bytes;
    }
    [[nodiscard]] std::string_view durable_view(std::string const& path) const {
        auto const found = state_->durable_names.find(path);
        return found == state_->durable_names.end() ? std::string_view{} : found->second->durable;
    }
    [[nodiscard]] std::vector<std::string> names() const {
        std::vector<std::string> all;
        for (auto const& [name, inode] : state_->names) all.push_back(name);
        return all;
    }

    // --- what was done

    /// Whether `log` grows; it does unless told. For very many downloads.
    void record(bool on) noexcept { state_->recording = on; }
    /// Every call that was recorded, those that failed too.
    [[nodiscard]] std::vector<call> const& log() const noexcept { return state_->log; }
    /// How many of them were of an operation.
    [[nodiscard]] std::size_t count(std::string_view operation) const {
        return static_cast<std::size_t>(
            std::ranges::count(state_->log, operation, &call::operation));
    }

  private:
    friend class memory_file;

    struct fault {
        std::string operation;
        std::size_t left = 0;
        int errno_value = 0;
    };
    struct state {
        static constexpr std::size_t never = std::numeric_limits<std::size_t>::max();

        std::uint64_t capacity = std::numeric_limits<std::uint64_t>::max();
        std::size_t power_fails_at = never;
        std::size_t calls = 0;
        std::uint64_t life = 0; // crashes and kills so far
        std::vector<fault> faults;
        std::function<std::error_code(call const&)> on_call;
        detail::memory_names names;
        detail::memory_names durable_names;
        std::vector<detail::memory_rename> renames; // that are not durable
        bool recording = true;
        std::vector<call> log;

        [[nodiscard]] bool power_failed() const noexcept { return calls > power_fails_at; }
        void restart() noexcept {
            power_fails_at = never;
            calls = 0;
            ++life;
        }

        [[nodiscard]] std::error_code planned_fault(std::string_view operation) {
            std::error_code ec;
            for (auto f = faults.begin(); f != faults.end();) {
                bool const counts = f->operation.empty() || f->operation == operation;
                if (counts && f->left == 0) {
                    ec = {f->errno_value, std::system_category()};
                    f = faults.erase(f);
                } else {
                    if (counts) --f->left;
                    ++f;
                }
            }
            return ec;
        }
        // Makes room for that many bytes in the file, if the disk has as much.
        void reserve(detail::memory_inode& file, std::uint64_t size, std::error_code& ec) const {
            if (size <= file.room) return;
            std::uint64_t used = 0;
            for (auto const& [name, inode] : names) used += inode->room;
            if (used > capacity || size - file.room > capacity - used)
                ec = {ENOSPC, std::system_category()};
            else if (size > max_size)
                ec = {EFBIG, std::system_category()};
            else
                file.room = size;
        }

        void rename(detail::memory_rename r) {
            r.apply(names);
            renames.push_back(std::move(r));
        }
        void sync_directory(std::string const& path) {
            std::erase_if(renames, [&](detail::memory_rename const& r) {
                if (detail::directory_of(r.path()) != detail::directory_of(path)) return false;
                r.apply(durable_names);
                return true;
            });
        }
    };

    template <class Choose, class Kept>
    static std::string after_crash(detail::memory_inode const& file, Choose& choose, Kept& kept) {
        std::string bytes = file.durable;
        std::vector<detail::memory_inode::change const*> order;
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
                    detail::memory_inode::write(bytes, c->offset + at, c->bytes.data() + at, part);
                at += part;
            }
        }
        return bytes;
    }

    std::shared_ptr<state> state_ = std::make_shared<state>();
};

/// A file on a memory disk, as `cleave::posix_file` is one on a real disk: it is synced, and with
/// it its directory the first time; renaming syncs the directory, removing does not. A journal or a
/// partial is locked while it is open. Move-only; closing it leaves the file where it is.
class memory_file {
  public:
    explicit memory_file(memory_disk const& disk) : disk_(disk.state_) {}
    memory_file(memory_file&& other) noexcept = default;
    memory_file& operator=(memory_file&&) = delete;
    ~memory_file() = default;

    void check_target(std::string const& target, std::error_code& ec) const {
        call({"check_target", target}, ec,
             [&](std::error_code& failed) { may_be_target(target, failed); });
    }

    void open_partial(std::string const& path, std::error_code& ec) {
        call({"open_partial", path}, ec, [&](std::error_code& failed) {
            take(path, true, failed);
            if (!failed) change_size(0);
        });
    }
    void reopen_partial(std::string const& path, std::error_code& ec) {
        call({"reopen_partial", path}, ec,
             [&](std::error_code& failed) { take(path, false, failed); });
    }
    void open_journal(std::string const& path, std::error_code& ec) {
        call({"open_journal", path}, ec,
             [&](std::error_code& failed) { take(path, true, failed); });
    }
    void open_finished(std::string const& target, std::error_code& ec) {
        call({"open_finished", target}, ec, [&](std::error_code& failed) { find(target, failed); });
    }

    [[nodiscard]] std::uint64_t size(std::error_code& ec) const {
        std::uint64_t n = 0;
        call({"size", path_}, ec, [&](std::error_code& failed) {
            if (is_open(failed)) n = inode_->bytes.size();
        });
        return n;
    }

    void allocate(std::uint64_t size, std::error_code& ec) {
        call({"allocate", path_, 0, size}, ec, [&](std::error_code& failed) {
            if (!may_be_written(failed)) return;
            disk_->reserve(*inode_, size, failed);
            if (!failed && inode_->bytes.size() < size) change_size(size);
        });
    }

    void write_at(std::uint64_t offset, std::span<std::byte const> from, std::error_code& ec) {
        call({"write_at", path_, offset, from.size(), {}, from}, ec, [&](std::error_code& failed) {
            if (!may_be_written(failed) || from.empty()) return;
            // Where it would end, or beyond all that is possible.
            std::uint64_t const most = std::numeric_limits<std::uint64_t>::max();
            disk_->reserve(*inode_, offset > most - from.size() ? most : offset + from.size(),
                           failed);
            if (failed) return;
            std::string bytes(from.size(), '\0');
            std::memcpy(bytes.data(), from.data(), from.size());
            detail::memory_inode::write(inode_->bytes, offset, bytes.data(), bytes.size());
            inode_->changes.push_back({offset, std::move(bytes), std::nullopt});
        });
    }

    void read_at(std::uint64_t offset, std::span<std::byte> to, std::error_code& ec) const {
        call({"read_at", path_, offset, to.size()}, ec, [&](std::error_code& failed) {
            if (!is_open(failed)) return;
            std::uint64_t const size = inode_->bytes.size();
            if (offset > size || to.size() > size - offset)
                failed = cleave::error::partial_replaced;
            else if (!to.empty())
                std::memcpy(to.data(), inode_->bytes.data() + static_cast<std::size_t>(offset),
                            to.size());
        });
    }

    void resize(std::uint64_t size, std::error_code& ec) {
        // Growing leaves a hole, which takes no room; what is cut off gives its room back.
        call({"resize", path_, 0, size}, ec, [&](std::error_code& failed) {
            if (!may_be_written(failed)) return;
            if (size > memory_disk::max_size)
                failed = {EFBIG, std::system_category()};
            else
                change_size(size);
        });
    }

    void sync(std::error_code& ec) {
        std::error_code const failed =
            call({"sync", path_, 0, inode_ ? inode_->bytes.size() : 0}, ec,
                 [&](std::error_code& not_open) {
                     if (!is_open(not_open) || disk_->power_failed()) return;
                     inode_->sync();
                     if (life_ == disk_->life && !std::exchange(name_synced_, true))
                         disk_->sync_directory(path_);
                 });
        if (failed == std::errc::io_error && inode_ && !disk_->power_failed())
            inode_->lose_unsynced_bytes();
    }

    void publish(std::string const& target, std::error_code& ec) {
        call({"publish", target, 0, inode_ ? inode_->bytes.size() : 0}, ec,
             [&](std::error_code& failed) {
                 may_be_target(target, failed);
                 if (!failed && !is_ours()) failed = cleave::error::partial_replaced;
                 if (failed) return;
                 disk_->rename({inode_, path_, target});
                 if (!disk_->power_failed()) disk_->sync_directory(target);
                 release();
             });
    }

    void discard() noexcept {
        std::error_code ec;
        call({"discard", path_}, ec, [&](std::error_code&) {
            if (lock_ && is_ours()) disk_->rename({inode_, path_, {}});
        });
        release();
    }
    void close() noexcept {
        std::error_code ec;
        call({"close", path_}, ec, [](std::error_code&) {});
        release();
    }

  private:
    // What a call is told to others as; made only where there are any.
    struct outline {
        std::string_view operation;
        std::string_view path;
        std::uint64_t offset = 0;
        std::uint64_t size = 0;
        std::error_code ec = {};
        std::span<std::byte const> bytes = {};

        [[nodiscard]] memory_disk::call whole() const {
            return {std::string{operation}, std::string{path}, offset, size, ec, bytes};
        }
    };

    // Does what `f` does, unless there is no power or it is to fail. Answers with what went wrong.
    template <class F>
    std::error_code call(outline o, std::error_code& ec, F f) const {
        if (!disk_->power_failed()) {
            ++disk_->calls;
            auto const planned = disk_->planned_fault(o.operation);
            if (disk_->on_call) o.ec = disk_->on_call(o.whole());
            if (!o.ec) o.ec = planned;
            if (!o.ec) f(o.ec);
        }
        if (disk_->power_failed()) o.ec = {EIO, std::system_category()};
        o.bytes = {};
        if (disk_->recording) disk_->log.push_back(o.whole());
        if (o.ec) ec = o.ec;
        return o.ec;
    }

    void change_size(std::uint64_t size) {
        inode_->room = std::min(inode_->room, size);
        if (size == inode_->bytes.size()) return;
        inode_->bytes.resize(static_cast<std::size_t>(size));
        inode_->changes.push_back({0, {}, size});
    }

    // The file of that name, if it is one.
    void find(std::string const& path, std::error_code& ec) {
        release();
        auto const found = disk_->names.find(path);
        if (found == disk_->names.end()) {
            ec = {ENOENT, std::system_category()};
        } else if (found->second->is != detail::memory_inode::kind::regular) {
            ec = what_else(*found->second);
        } else {
            inode_ = found->second;
            path_ = path;
            life_ = disk_->life;
            name_synced_ = false;
        }
    }
    void take(std::string const& path, bool create, std::error_code& ec) {
        if (create && !disk_->names.contains(path))
            disk_->rename({std::make_shared<detail::memory_inode>(), {}, path});
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

    void may_be_target(std::string const& target, std::error_code& ec) const {
        auto const found = disk_->names.find(target);
        if (target.empty() || target.back() == '/')
            ec = cleave::error::target_is_directory;
        else if (found != disk_->names.end() &&
                 found->second->is != detail::memory_inode::kind::regular)
            ec = what_else(*found->second);
    }
    [[nodiscard]] static std::error_code what_else(detail::memory_inode const& inode) noexcept {
        return inode.is == detail::memory_inode::kind::directory
                   ? cleave::error::target_is_directory
                   : cleave::error::target_not_regular;
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

    std::shared_ptr<memory_disk::state> disk_;
    std::shared_ptr<detail::memory_inode> inode_;
    std::shared_ptr<bool> lock_;
    std::string path_;
    std::uint64_t life_ = 0; // the disk's, when it was opened
    bool name_synced_ = false;
};

static_assert(cleave::file<memory_file>);

} // namespace cleave::testing
