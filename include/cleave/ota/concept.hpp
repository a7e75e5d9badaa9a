// SPDX-License-Identifier: BSL-1.0
//
// What a device must be able to do to be updated, and what it is told meanwhile. Knows nothing of
// how an update is carried out.
#pragma once

#include <cleave/ota/error.hpp>
#include <cleave/ota/firmware.hpp>
#include <cleave/ota/state.hpp>
#include <cleave/ota/time_spent.hpp>
#include <cleave/sink/concept.hpp>
#include <cleave/verify/concept.hpp>
#include <cleave/verify/digest.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace cleave {

/// What is said when an update will not be done within its deadline, in time to do something.
struct deadline_warning {
    /// Bytes a second, as they have come in this run.
    std::uint64_t rate = 0;
    /// Bytes of the whole update that are still to come.
    std::uint64_t bytes_left = 0;
    /// Until they are in place at this rate, with the time that installing is to take; the longest
    /// time there is where nothing comes.
    std::chrono::nanoseconds needed{0};
    /// Until the deadline.
    std::chrono::nanoseconds left{0};
    /// Where the time of this run went, and what most of it was spent on.
    time_spent spent{};
    bottleneck because = bottleneck::network;

    /// For people: how much is left, how fast it comes, what holds it up and what to do.
    [[nodiscard]] std::string message() const {
        std::string text = "the update will not be done in time: " + std::to_string(bytes_left) +
                           " bytes are left";
        if (rate == 0)
            text += ", and none comes";
        else
            text += " at " + std::to_string(rate) + " bytes a second, which takes " +
                    detail::seconds_of(needed);
        return text + ", and the deadline is in " + detail::seconds_of(left) + "; " +
               spent.message() + "; " + describe(because);
    }
};

/// Why an update failed.
struct update_failure {
    update_step step = update_step::upgrade;
    std::error_code code{};
    /// What happened, with the particulars, and what to do about it: a line for people. Holds no
    /// secrets.
    std::string text{};
};

/// What a device passes on to the platform while an update runs.
struct update_progress {
    std::string const& module;
    update_stage stage = update_stage::told;
    /// 0 to 100: of the bytes of all files, those in place, rounded down. 100 only when all of them
    /// are proven; that is not success. Never goes back within a run.
    unsigned percent = 0;
    /// Bytes a second, where the last seconds count for most.
    std::uint64_t rate = 0;
    /// Where the update has failed; then it is the last that is told of this run.
    update_failure const* failed = nullptr;
    /// Where it will not make its deadline.
    deadline_warning const* late = nullptr;
};

/// How an installation ended.
enum class install_result : std::uint8_t {
    running, ///< the new version runs already
    restart, ///< it runs after a restart of the device, or of the program
};

namespace detail {
using done_function = std::function<void(std::error_code)>;
using firmware_function = std::function<void(std::error_code, firmware)>;
} // namespace detail

/// A device that updates itself, `d`. Its functions need not be templates; `done` is
/// `std::function<void(std::error_code)>`.
///
/// On the update's strand; must not block:
///
/// | expression                                  | meaning                                        |
/// |---------------------------------------------|------------------------------------------------|
/// | `D::hasher_type`                            | computes digests; made from a                  |
/// |                                             | `digest_algorithm`: `openssl_hasher`, or a     |
/// |                                             | hash unit of the device                        |
/// | `d.current_version(module)`                 | const: the version that runs now; converts to  |
/// |                                             | `std::string`                                  |
/// | `d.sink(fw, i, from)`                       | a new `byte_sink` for file `i` of `fw`, whose  |
/// |                                             | first byte is the file's byte `from`, 0 unless |
/// |                                             | the image can be read back (see below)         |
/// | `d.report_progress(p)`                      | passes on `update_progress const& p`, or a     |
/// |                                             | failure; what it throws is dropped             |
/// | `d.async_report_version(module, v, done)`   | tells the platform that `module` runs version  |
/// |                                             | `v`; calls `done(ec)` once when it is known    |
/// |                                             | that it arrived, or why not; from any thread,  |
/// |                                             | perhaps before it returns                      |
///
/// In the background, so that they may block as long as they must; one at a time for each update:
///
/// | expression                          | meaning                                                |
/// |-------------------------------------|--------------------------------------------------------|
/// | `d.load(module, to, ec)`            | copies what was saved last into `to`,                  |
/// |                                     | `update_state_size` bytes, and answers with how many   |
/// |                                     | it was: 0 where nothing was saved                      |
/// | `d.save(module, bytes, ec)`         | keeps these bytes, at most `update_state_size`, in     |
/// |                                     | place of those before; no bytes: forgets them. When it |
/// |                                     | returns they survive a power cut                       |
/// | `d.install(fw, ec)`                 | takes over the files of `fw`, which are in place and   |
/// |                                     | proven; answers with `install_result`. It need not     |
/// |                                     | return: the device may restart within it               |
/// | `d.confirm(module, v, ec)`          | the new version `v` runs: tests it, and lets it stay.  |
/// |                                     | After an error the device goes back to the old one     |
///
/// Optional, for links that expire; without it, the policies' request source is asked:
///
/// | expression                          | meaning                                                |
/// |-------------------------------------|--------------------------------------------------------|
/// | `d.async_ask_again(module, got)`    | asks the platform for the firmware once more, without  |
/// |                                     | blocking; calls `got(ec, fw)` once, from any thread,   |
/// |                                     | perhaps before it returns. `got` is                    |
/// |                                     | `std::function<void(std::error_code, firmware)>`       |
///
/// Optional, both or none, for an ordered sink to go on where it was after a power cut. Other sinks
/// go on by the policies' journal:
///
/// | expression                          | meaning                                                |
/// |-------------------------------------|--------------------------------------------------------|
/// | `d.read_image(fw, i, off, to, ec)`  | in the background: fills `to` with what was written of |
/// |                                     | file `i` from `off` on                                 |
/// | `d.image_block(fw, i)`              | const: the sink may begin anew at each multiple of it, |
/// |                                     | `std::uint64_t`: the size of an erase block. Called on |
/// |                                     | the strand and in the background                       |
///
/// Optional, on the strand: `d.entered(module, stage)`, told of each `update_stage`, after it was
/// saved.
///
/// Laws:
/// 1. `save` is atomic: after a power cut `load` gives back what was saved last, or what was saved
///    before that. A record that is torn counts as none.
/// 2. `install` may be called again for the same firmware, after a power cut within it, too.
/// 3. What an ordered sink has taken before `save` is called, up to a multiple of `image_block`,
///    `read_image` gives back after a power cut.
///
/// Besides, a device reports its version whenever the channel to the platform comes up again: an
/// update does so when it starts, and when it ends, and knows nothing of channels.
///
/// Within a call the device may not be destroyed. Several updates, of different modules, may use
/// one device at a time; then its functions are called from several strands.
template <class D>
concept update_device = hasher<typename D::hasher_type> &&
    std::constructible_from<typename D::hasher_type, digest_algorithm> &&
    requires(D& d, D const& c, firmware const& fw, std::size_t i, std::uint64_t from,
             std::string const& name, std::span<std::byte> to, std::span<std::byte const> bytes,
             update_progress const& p, std::error_code& ec, detail::done_function done) {
    { c.current_version(name) } -> std::convertible_to<std::string>;
    { d.sink(fw, i, from) } -> byte_sink;
    d.report_progress(p);
    d.async_report_version(name, name, std::move(done));
    { d.load(name, to, ec) } -> std::convertible_to<std::size_t>;
    d.save(name, bytes, ec);
    { d.install(fw, ec) } -> std::same_as<install_result>;
    d.confirm(name, name, ec);
};

/// A device that can ask the platform for a fresh link.
template <class D>
concept asking_device = update_device<D> &&
    requires(D& d, std::string const& module, detail::firmware_function got) {
    d.async_ask_again(module, std::move(got));
};

/// A device that can read back what it has of an image, so that it need not come again.
template <class D>
concept rereading_device = update_device<D> &&
    requires(D& d, D const& c, firmware const& fw, std::size_t i, std::uint64_t offset,
             std::span<std::byte> to, std::error_code& ec) {
    d.read_image(fw, i, offset, to, ec);
    { c.image_block(fw, i) } -> std::convertible_to<std::uint64_t>;
};

} // namespace cleave
