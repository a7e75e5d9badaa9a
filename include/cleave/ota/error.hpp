// SPDX-License-Identifier: BSL-1.0
//
// What may go wrong with an update beyond a download: the stages that it goes through, the step
// that a failure is counted to, and error codes of its own, each with a message that says what
// happened and what to do. Knows nothing of devices or platforms.
#pragma once

#include <cleave/base/error.hpp>

#include <cstdint>
#include <string>
#include <system_error>

namespace cleave {

/// How far an update is. The order is that of the enumerators, and no stage is left out. Each is
/// saved before what follows it begins, so that a device that loses power goes on from there.
enum class update_stage : std::uint8_t {
    idle,        ///< there is no update
    told,        ///< the firmware is known and fit, nothing of it is fetched
    downloading, ///< files are on their way
    verified,    ///< all files are in place, each has its digest
    installed,   ///< the device has taken the image over, and is to run it
    confirmed,   ///< the new version runs, and is to stay
    reported,    ///< the platform has been told the expected version: success, and nothing else is
};

/// For messages.
[[nodiscard]] constexpr char const* to_string(update_stage s) noexcept {
    switch (s) {
    case update_stage::idle: return "idle";
    case update_stage::told: return "told";
    case update_stage::downloading: return "downloading";
    case update_stage::verified: return "verified";
    case update_stage::installed: return "installed";
    case update_stage::confirmed: return "confirmed";
    case update_stage::reported: return "reported";
    }
    return "unknown";
}

/// What a failure is counted to, as platforms have it.
enum class update_step : std::uint8_t {
    upgrade,      ///< the update as a whole: unfit firmware or settings, a wrong version
    download,     ///< the network or the server
    verification, ///< the bytes are not those that were told
    install,      ///< what stores or runs the image: full or worn flash, a failed installation
};

/// For messages.
[[nodiscard]] constexpr char const* to_string(update_step s) noexcept {
    switch (s) {
    case update_step::upgrade: return "upgrade";
    case update_step::download: return "download";
    case update_step::verification: return "verification";
    case update_step::install: return "install";
    }
    return "unknown";
}

/// Errors of an update. Values are stable: a new cause gets a new number.
enum class update_error {
    // What the platform told is unfit: nothing was fetched.
    no_module = 100,
    no_version,
    name_too_long,
    no_file,
    file_without_size,
    digest_missing,
    digest_method_unknown,
    digest_wrong_length,
    digest_not_hexadecimal,

    // What came is not what was told.
    firmware_changed = 200,
    size_differs,

    // The link has expired, and the platform gives no other.
    update_closed = 250,
    platform_silent,

    // The version.
    version_wrong = 300,
    version_unchanged,
    version_not_reported,

    // Time.
    deadline_missed = 400,

    // Flash.
    flash_too_small = 500,
    flash_misaligned,

    // No failures, but no success either.
    restart_needed = 600,
    firmware_needed,
    no_update,
};

/// The category of `update_error`.
[[nodiscard]] std::error_category const& update_category() noexcept;

/// So that an `update_error` is an error code.
[[nodiscard]] inline std::error_code make_error_code(update_error e) noexcept {
    return {static_cast<int>(e), update_category()};
}

/// The cause of one of these, by which they compare with `cleave::cause`.
[[nodiscard]] constexpr cause cause_of(update_error e) noexcept {
    switch (e) {
    case update_error::no_module:
    case update_error::no_version:
    case update_error::name_too_long:
    case update_error::no_file:
    case update_error::file_without_size:
    case update_error::digest_missing:
    case update_error::digest_method_unknown:
    case update_error::digest_wrong_length:
    case update_error::digest_not_hexadecimal:
    case update_error::flash_misaligned: return cause::configuration;
    case update_error::flash_too_small: return cause::storage;
    case update_error::firmware_changed:
    case update_error::size_differs: return cause::identity_changed;
    case update_error::platform_silent:
    case update_error::version_not_reported:
    case update_error::restart_needed:
    case update_error::firmware_needed: return cause::passing;
    case update_error::update_closed:
    case update_error::version_wrong:
    case update_error::version_unchanged:
    case update_error::deadline_missed:
    case update_error::no_update: return cause::permanent;
    }
    return cause::permanent;
}

/// What happened and what to do about it, as `make_error_code(e).message()` says it.
[[nodiscard]] constexpr char const* describe(update_error e) noexcept {
    switch (e) {
    case update_error::no_module:
        return "the firmware names no module; name the module that it is for, or \"default\"";
    case update_error::no_version:
        return "the firmware has no version; without one nobody can tell when it is in place";
    case update_error::name_too_long:
        return "the name of a module or version is too long; use at most 64 bytes";
    case update_error::no_file:
        return "the firmware has no file; give at least one, with URL, size and digest";
    case update_error::file_without_size:
        return "a file of the firmware has no size; give its size in bytes, which is not 0";
    case update_error::digest_missing:
        return "a file of the firmware has no digest; give one, for nothing unproven is installed";
    case update_error::digest_method_unknown:
        return "the digest's method is not known; use SHA256, SHA512, SHA1 or MD5";
    case update_error::digest_wrong_length:
        return "the digest's length does not fit its method; give 64 hexadecimal digits for "
               "SHA256, 32 for MD5";
    case update_error::digest_not_hexadecimal:
        return "the digest cannot be read; write it in hexadecimal digits";

    case update_error::firmware_changed:
        return "asked for a fresh link, the platform answered with another firmware; begin again "
               "with that one";
    case update_error::size_differs:
        return "the object on the server does not have the size that the platform told; check "
               "that the link is for this version";

    case update_error::update_closed:
        return "the link has expired, and the platform has no update for the device any more; have "
               "the update started again on the platform";
    case update_error::platform_silent:
        return "the link has expired, and the platform does not answer who asks for a fresh one; "
               "check the channel to the platform, another call goes on with what is in place";

    case update_error::version_wrong:
        return "the device runs another version than was expected; check that the image is of "
               "the version that the platform names";
    case update_error::version_unchanged:
        return "the device runs the old version although the new one was installed; check its boot "
               "loader, and whether it has rolled back";
    case update_error::version_not_reported:
        return "the platform could not be told the version, so the update does not count; check "
               "the channel to the platform, the version is reported again at the next start";

    case update_error::deadline_missed:
        return "the update is not done within its deadline; give it more time, or see where the "
               "time went";

    case update_error::flash_too_small:
        return "the image is larger than the flash region for it; make the region larger, or the "
               "image smaller";
    case update_error::flash_misaligned:
        return "the image does not begin at an erase block, or the chunk is not a whole number of "
               "program units; align both";

    case update_error::restart_needed:
        return "the new version is installed and runs after a restart; restart the device and "
               "resume the update";
    case update_error::firmware_needed:
        return "an update had begun and is not installed; ask the platform for the firmware and "
               "go on with it";
    case update_error::no_update: return "no update is under way; wait for the platform";
    }
    return "unknown error";
}

namespace detail {

class update_category_type final : public std::error_category {
  public:
    [[nodiscard]] char const* name() const noexcept override { return "cleave.update"; }
    [[nodiscard]] std::string message(int value) const override {
        return describe(static_cast<update_error>(value));
    }
    [[nodiscard]] bool equivalent(int value,
                                  std::error_condition const& condition) const noexcept override {
        if (condition.category() == cause_category())
            return cause_of(static_cast<update_error>(value)) ==
                   static_cast<cause>(condition.value());
        return std::error_category::equivalent(value, condition);
    }
};

} // namespace detail

inline std::error_category const& update_category() noexcept {
    static detail::update_category_type const category;
    return category;
}

} // namespace cleave

template <>
struct std::is_error_code_enum<cleave::update_error> : std::true_type {};
