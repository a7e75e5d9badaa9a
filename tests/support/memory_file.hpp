// SPDX-License-Identifier: BSL-1.0
//
// A disk in memory that can be full, fail at a chosen call, and lose what was not made durable;
// and a file on it that models cleave's `file`, for `cleave::basic_file_sink<memory_file>`. Every
// call is on record. For one thread.

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
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace cleave_test {

namespace detail {

// A file, whatever its names are.
struct memory_inode {
    enum class kind { regular, directory, other };
    kind is = kind::regular;
    std::string bytes;
    std::string durable; // as of the last sync
    std::uint64_t room = 0;
    bool locked = false;
};

using memory_names = std::map<std::string, std::shared_ptr<memory_inode>>;

} // namespace detail

/// A disk; copies are handles on the same one.
class memory_disk {
  public:
    /// One call of a file's. `operation` is the name of the concept's function.
    struct call {
        std::string operation;
        std::string path;
        std::uint64_t offset = 0;
        std::uint64_t size = 0;
        std::error_code ec{};
        friend bool operator==(call const&, call const&) = default;
    };

    /// Room for so many bytes, for all files together; beyond is ENOSPC.
    void capacity(std::uint64_t bytes) { state_->capacity = bytes; }
    /// Makes the nth call of this operation from now on, counted from 0, fail with a code of the
    /// system; of any operation where it is empty.
    void fail(std::string operation, std::size_t nth, int errno_value) {
        state_->faults.push_back({std::move(operation), nth, errno_value});
    }

    /// From this call on, counted from 0 over all calls ever, nothing has any effect any more: each
    /// fails with EIO. `crash` brings the disk back.
    void power_fails_at(std::size_t nth) { state_->power_fails_at = nth; }

    void put(std::string const& path, std::string bytes) {
        auto& inode = state_->names[path] = std::make_shared<detail::memory_inode>();
        inode->room = bytes.size();
        inode->durable = bytes;
        inode->bytes = std::move(bytes);
        state_->durable_names[path] = inode;
    }
    void make_directory(std::string const& path) {
        put(path, {});
        state_->names[path]->is = detail::memory_inode::kind::directory;
    }
    void make_device(std::string const& path) {
        put(path, {});
        state_->names[path]->is = detail::memory_inode::kind::other;
    }
    void remove(std::string const& path) {
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
    [[nodiscard]] std::vector<std::string> names() const {
        std::vector<std::string> all;
        for (auto const& [name, inode] : state_->names) all.push_back(name);
        return all;
    }

    /// Every call so far, those that failed too.
    [[nodiscard]] std::vector<call> const& log() const noexcept { return state_->log; }
    /// How many calls of an operation there were.
    [[nodiscard]] std::size_t count(std::string_view operation) const {
        return static_cast<std::size_t>(
            std::ranges::count(state_->log, operation, &call::operation));
    }

    /// The power fails and comes back: bytes are what they were at their file's last sync, and a
    /// name leads where it did when it was last made durable. Open files lose their locks.
    void crash() {
        state_->power_fails_at = std::numeric_limits<std::size_t>::max();
        state_->names = state_->durable_names;
        for (auto const& [name, inode] : state_->names) {
            inode->bytes = inode->durable;
            inode->room = inode->bytes.size();
            inode->locked = false;
        }
    }

  private:
    friend class memory_file;

    struct fault {
        std::string operation;
        std::size_t left = 0;
        int errno_value = 0;
    };
    struct state {
        std::uint64_t capacity = std::numeric_limits<std::uint64_t>::max();
        std::size_t power_fails_at = std::numeric_limits<std::size_t>::max();
        std::vector<fault> faults;
        detail::memory_names names;
        detail::memory_names durable_names;
        std::vector<call> log;

        [[nodiscard]] std::error_code planned_fault(std::string_view operation) {
            if (log.size() >= power_fails_at) return {EIO, std::system_category()};
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
            if (used > capacity || size - file.room > capacity - used) {
                ec = {ENOSPC, std::system_category()};
                return;
            }
            file.room = size;
        }
    };
    std::shared_ptr<state> state_ = std::make_shared<state>();
};

/// A file on a memory disk. Move-only; closing it leaves the file where it is.
class memory_file {
  public:
    explicit memory_file(memory_disk const& disk) : disk_(disk.state_) {}
    memory_file(memory_file&& other) noexcept = default;
    memory_file& operator=(memory_file&&) = delete;
    ~memory_file() { release(); }

    void check_target(std::string const& target, std::error_code& ec) const {
        call("check_target", target, 0, 0, ec, [&] { may_be_target(target, ec); });
    }

    void open_partial(std::string const& path, std::error_code& ec) {
        call("open_partial", path, 0, 0, ec, [&] {
            create(path);
            take(path, ec);
            if (ec) return;
            inode_->bytes.clear();
            inode_->room = 0;
        });
    }
    void reopen_partial(std::string const& path, std::error_code& ec) {
        call("reopen_partial", path, 0, 0, ec, [&] { take(path, ec); });
    }
    void open_journal(std::string const& path, std::error_code& ec) {
        call("open_journal", path, 0, 0, ec, [&] {
            create(path);
            take(path, ec);
        });
    }
    void open_finished(std::string const& target, std::error_code& ec) {
        call("open_finished", target, 0, 0, ec, [&] {
            find(target, ec);
            finished_ = true;
        });
    }

    [[nodiscard]] std::uint64_t size(std::error_code& ec) const {
        call("size", path_, 0, 0, ec, [] {});
        return ec ? 0 : inode_->bytes.size();
    }

    void allocate(std::uint64_t size, std::error_code& ec) {
        call("allocate", path_, 0, size, ec, [&] {
            may_be_written(ec);
            if (!ec) disk_->reserve(*inode_, size, ec);
            if (!ec && inode_->bytes.size() < size)
                inode_->bytes.resize(static_cast<std::size_t>(size));
        });
    }

    void write_at(std::uint64_t offset, std::span<std::byte const> from, std::error_code& ec) {
        call("write_at", path_, offset, from.size(), ec, [&] {
            std::uint64_t const end = offset + from.size();
            may_be_written(ec);
            if (!ec) disk_->reserve(*inode_, end, ec);
            if (ec || from.empty()) return;
            if (inode_->bytes.size() < end) inode_->bytes.resize(static_cast<std::size_t>(end));
            std::memcpy(inode_->bytes.data() + static_cast<std::size_t>(offset), from.data(),
                        from.size());
        });
    }

    void read_at(std::uint64_t offset, std::span<std::byte> to, std::error_code& ec) const {
        call("read_at", path_, offset, to.size(), ec, [&] {
            std::uint64_t const size = inode_->bytes.size();
            if (offset > size || to.size() > size - offset)
                ec = cleave::error::partial_replaced;
            else if (!to.empty())
                std::memcpy(to.data(), inode_->bytes.data() + static_cast<std::size_t>(offset),
                            to.size());
        });
    }

    void resize(std::uint64_t size, std::error_code& ec) {
        // Growing leaves a hole, which takes no room; what is cut off gives its room back.
        call("resize", path_, 0, size, ec, [&] {
            may_be_written(ec);
            if (ec) return;
            inode_->bytes.resize(static_cast<std::size_t>(size));
            inode_->room = std::min(inode_->room, size);
        });
    }

    void sync(std::error_code& ec) {
        call("sync", path_, 0, inode_->bytes.size(), ec, [&] {
            inode_->durable = inode_->bytes;
            if (is_ours()) disk_->durable_names[path_] = inode_;
        });
    }

    void publish(std::string const& target, std::error_code& ec) {
        call("publish", target, 0, inode_->bytes.size(), ec, [&] {
            may_be_target(target, ec);
            if (!ec && !is_ours()) ec = cleave::error::partial_replaced;
            if (ec) return;
            disk_->names.erase(path_);
            disk_->names[target] = inode_;
            disk_->durable_names.erase(path_);
            disk_->durable_names[target] = inode_;
            release();
        });
    }

    void discard() noexcept {
        std::error_code ec;
        call("discard", path_, 0, 0, ec, [&] {
            if (is_ours() && !finished_) {
                disk_->names.erase(path_);
                disk_->durable_names.erase(path_);
            }
            release();
        });
    }

    void close() noexcept {
        std::error_code ec;
        call("close", path_, 0, 0, ec, [] {});
        release();
    }

  private:
    // Does what `f` does, unless it was planned that this call fails; and puts it on record.
    template <class F>
    void call(char const* operation, std::string const& path, std::uint64_t offset,
              std::uint64_t size, std::error_code& ec, F f) const {
        ec = disk_->planned_fault(operation);
        if (!ec) f();
        disk_->log.push_back({operation, path, offset, size, ec});
    }

    void may_be_target(std::string const& target, std::error_code& ec) const {
        auto const found = disk_->names.find(target);
        using kind = detail::memory_inode::kind;
        if (target.empty() || target.back() == '/')
            ec = cleave::error::target_is_directory;
        else if (found == disk_->names.end() || found->second->is == kind::regular)
            return;
        else if (found->second->is == kind::directory)
            ec = cleave::error::target_is_directory;
        else
            ec = cleave::error::target_not_regular;
    }

    // Whether the partial's name still leads to the file that is open here.
    [[nodiscard]] bool is_ours() const {
        auto const found = disk_->names.find(path_);
        return inode_ && found != disk_->names.end() && found->second == inode_;
    }
    void may_be_written(std::error_code& ec) const {
        if (finished_) ec = {EBADF, std::system_category()};
    }

    void create(std::string const& path) {
        auto& found = disk_->names[path];
        if (!found) found = std::make_shared<detail::memory_inode>();
    }
    // The file of that name, if it is one.
    void find(std::string const& path, std::error_code& ec) {
        release();
        auto const found = disk_->names.find(path);
        using kind = detail::memory_inode::kind;
        if (found == disk_->names.end()) {
            ec = {ENOENT, std::system_category()};
        } else if (found->second->is != kind::regular) {
            ec = found->second->is == kind::directory ? cleave::error::target_is_directory
                                                      : cleave::error::target_not_regular;
        } else {
            path_ = path;
            inode_ = found->second;
            finished_ = false;
        }
    }
    void take(std::string const& path, std::error_code& ec) {
        find(path, ec);
        if (ec) return;
        if (inode_->locked) {
            inode_.reset();
            ec = cleave::error::target_busy;
        } else {
            inode_->locked = true;
        }
    }
    void release() noexcept {
        if (inode_ && !finished_) inode_->locked = false;
        inode_.reset();
    }

    std::shared_ptr<memory_disk::state> disk_;
    std::shared_ptr<detail::memory_inode> inode_;
    std::string path_;
    bool finished_ = false;
};

static_assert(cleave::file<memory_file>);

} // namespace cleave_test
