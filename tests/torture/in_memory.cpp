// SPDX-License-Identifier: BSL-1.0
//
// The reference download over a network in memory, in virtual time: the same at every run, and fast
// enough to go through thousands of allocations. Files are real ones.

#include <torture/reference.hpp>

#include <cleave/download.hpp>
#include <cleave/testing/memory_network.hpp>
#include <cleave/testing/messages.hpp>
#include <cleave/testing/virtual_time.hpp>

#include <asio/io_context.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace cleave_test::torture {

// Not in an unnamed namespace: functions in a stack are to be found by their names.
namespace memory {

using namespace cleave::testing;

// ---- network and time, with nothing of theirs counted

template <class Executor>
class stream_aside {
  public:
    explicit stream_aside(std::unique_ptr<memory_stream<Executor>> s) : s_(std::move(s)) {}

    template <class Handler>
    void async_connect(cleave::url const& to, Handler handler) {
        aside const not_counted;
        s_->async_connect(to, std::move(handler));
    }
    template <class Handler>
    void async_write(std::string_view text, Handler handler) {
        aside const not_counted;
        s_->async_write(text, std::move(handler));
    }
    template <class Handler>
    void async_wait(Handler handler) {
        aside const not_counted;
        s_->async_wait(std::move(handler));
    }
    [[nodiscard]] std::size_t read_some(std::span<std::byte> to, std::error_code& ec) {
        aside const not_counted;
        return s_->read_some(to, ec);
    }
    void close() noexcept {
        aside const not_counted;
        s_->close();
    }

  private:
    std::unique_ptr<memory_stream<Executor>> s_;
};

class connector_aside {
  public:
    explicit connector_aside(memory_connector c) : c_(std::move(c)) {}

    template <class Executor>
    [[nodiscard]] stream_aside<Executor> make(Executor const& ex) const {
        aside const not_counted;
        return stream_aside<Executor>{std::make_unique<memory_stream<Executor>>(c_.make(ex))};
    }
    [[nodiscard]] std::error_code check(cleave::url const& to) const noexcept {
        return c_.check(to);
    }
    [[nodiscard]] cleave::cause classify(std::error_code ec) const noexcept {
        return c_.classify(ec);
    }

  private:
    memory_connector c_;
};

template <class Executor>
class timer_aside {
  public:
    using executor_type = Executor;
    using clock_type = virtual_clock;
    using duration = clock_type::duration;
    using time_point = clock_type::time_point;

    explicit timer_aside(Executor const& ex) : t_(make(ex)) {}
    std::size_t expires_at(time_point when) {
        aside const not_counted;
        return t_->expires_at(when);
    }
    std::size_t cancel() {
        aside const not_counted;
        return t_->cancel();
    }
    template <class Handler>
    void async_wait(Handler handler) {
        aside const not_counted;
        t_->async_wait(std::move(handler));
    }

  private:
    static std::unique_ptr<virtual_timer<Executor>> make(Executor const& ex) {
        aside const not_counted;
        return std::make_unique<virtual_timer<Executor>>(ex);
    }
    std::unique_ptr<virtual_timer<Executor>> t_;
};
struct timers_aside {
    template <class Executor>
    using type = timer_aside<Executor>;
};

memory_handler server() {
    return memory_network::honest(the_object(), {.cut_after = cut_after, .applies = is_cut});
}

// Lets things happen until the download has ended: what the context has ready counts, what happens
// in the world does not. False when nothing is left to happen.
bool run(world& time, asio::io_context& context, outcome const& e) {
    for (int steps = 0; e.calls == 0; ++steps) {
        if (steps == 100'000) return false;
        if (context.stopped()) context.restart();
        if (context.poll_one() != 0) continue;
        aside const not_counted;
        bool asked = false;
        std::uint64_t const before = time.steps();
        time.run(context, [&] { return std::exchange(asked, true); });
        if (time.steps() == before) return false;
    }
    // Whatever is left over must not call the handler again.
    for (int steps = 0; steps != 1'000 && context.poll_one() != 0; ++steps) {
    }
    return true;
}

outcome download(std::string const& target, std::optional<fault> const& f,
                 std::uint64_t cancel_at = 0) {
    outcome e;
    world time;
    memory_network network{server()};
    cleave::control const control;
    auto what = request_for("http://example.org/model.bin", f.has_value());
    auto how = policies_for(connector_aside{network.connector()}, control)
                   .template with_timer<timers_aside>()
                   .with_background(cleave::same_thread{})
                   .with_observer(cleave::on_progress(
                       std::chrono::nanoseconds{0}, 30'000, [&](cleave::progress const& p) {
                           if (cancel_at != 0 && p.bytes >= cancel_at) control.cancel();
                       }));
    cleave::file_sink sink{target};

    std::optional<counting> count;
    if (f) count.emplace(*f);
    noting(e, [&] {
        asio::io_context context;
        noting(e, [&] {
            cleave::async_download(context.get_executor(), std::move(what), std::move(sink),
                                   std::move(how), into(e));
            run(time, context, e);
        });
    });
    return e;
}

} // namespace memory

reference in_memory(std::string name, bool resumes) {
    reference r;
    r.name = std::move(name);
    r.resumes = resumes;
    r.download = [](std::string const& target, std::optional<fault> const& f) {
        return memory::download(target, f);
    };
    r.begin = [](std::string const& target) { memory::download(target, std::nullopt, 150'000); };
    return r;
}

} // namespace cleave_test::torture
