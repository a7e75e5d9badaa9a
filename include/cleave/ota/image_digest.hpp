// SPDX-License-Identifier: BSL-1.0
//
// The digest of an image, part of which came in an earlier run: that part is read back and hashed
// first. Knows nothing of where it lies.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/verify/concept.hpp>
#include <cleave/verify/digest.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace cleave {

/// Feeds the bytes of an earlier run to whoever hashes: calls `take` with them in order, and
/// answers with why it could not.
using image_prefix =
    std::function<std::error_code(std::function<void(std::span<std::byte const>)> const& take)>;

/// A hasher that begins with the bytes of an earlier run.
template <hasher Hasher>
class prefixed_hasher {
  public:
    prefixed_hasher(digest_algorithm algorithm, image_prefix prefix)
        : hasher_(algorithm), prefix_(std::move(prefix)) {}

    void reset(std::error_code& ec) {
        hasher_.reset(ec);
        if (ec || !prefix_) return;
        std::error_code hash_error;
        std::error_code const read_error = prefix_([&](std::span<std::byte const> bytes) {
            if (!hash_error) hasher_.update(bytes, hash_error);
        });
        ec = read_error ? read_error : hash_error;
    }
    void update(std::span<std::byte const> bytes, std::error_code& ec) {
        hasher_.update(bytes, ec);
    }
    [[nodiscard]] digest_value finish(std::error_code& ec) { return hasher_.finish(ec); }

  private:
    Hasher hasher_;
    image_prefix prefix_;
};

/// The whole image must have the digest given, where `prefix` tells of what is there of it and does
/// not come again. Remembers what it had, for messages; copies remember together.
template <hasher Hasher>
class image_digest {
  public:
    using hasher_type = prefixed_hasher<Hasher>;

    image_digest(digest_algorithm algorithm, std::string_view hex, image_prefix prefix = {})
        : algorithm_(algorithm), expected_(parse_digest(algorithm, hex)),
          prefix_(std::move(prefix)), seen_(std::make_shared<seen>()) {}

    [[nodiscard]] static constexpr bool wanted() noexcept { return true; }
    [[nodiscard]] std::error_code fault() const noexcept {
        return expected_ ? std::error_code{} : make_error_code(error::bad_digest);
    }
    [[nodiscard]] hasher_type make_hasher() const { return {algorithm_, prefix_}; }
    [[nodiscard]] bool matches(digest_value const& got) const noexcept {
        std::lock_guard const lock{seen_->mutex};
        seen_->value = got;
        return expected_ == got;
    }
    [[nodiscard]] std::uint64_t expectation() const noexcept {
        if (!expected_) return 0;
        return detail::expectation_hash(expected_->view(), detail::expectation_basis(algorithm_));
    }

    /// The digest that the image had, in hexadecimal digits; empty while it is not known.
    [[nodiscard]] std::string found() const {
        std::lock_guard const lock{seen_->mutex};
        std::string text;
        if (!seen_->value) return text;
        for (std::byte const b : seen_->value->view()) {
            auto const n = std::to_integer<unsigned>(b);
            text += "0123456789abcdef"[n >> 4];
            text += "0123456789abcdef"[n & 15];
        }
        return text;
    }

  private:
    struct seen {
        std::mutex mutex;
        std::optional<digest_value> value;
    };

    digest_algorithm algorithm_;
    std::optional<digest_value> expected_;
    image_prefix prefix_;
    std::shared_ptr<seen> seen_;
};

} // namespace cleave
