// SPDX-License-Identifier: BSL-1.0
//
// A device updates itself: told of new firmware it downloads it, proves it, installs it, and
// reports the new version; and only then the update has succeeded. The one header to include for
// that. How bytes come is the business of downloads, what is done with them that of the device.
#pragma once

#include <cleave/base/error.hpp>
#include <cleave/base/exception.hpp>
#include <cleave/base/failure.hpp>
#include <cleave/base/request.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/base/units.hpp>
#include <cleave/download.hpp>
#include <cleave/engine/event.hpp>
#include <cleave/engine/report.hpp>
#include <cleave/observe/concept.hpp>
#include <cleave/observe/tee_observer.hpp>
#include <cleave/ota/concept.hpp>
#include <cleave/ota/error.hpp>
#include <cleave/ota/firmware.hpp>
#include <cleave/ota/flash.hpp>
#include <cleave/ota/image_digest.hpp>
#include <cleave/ota/state.hpp>
#include <cleave/ota/time_spent.hpp>
#include <cleave/plan/concept.hpp>

#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace cleave {

/// What an update may take, and how often it speaks.
struct update_options {
    /// The whole update, from its first call to the report of the version; time before a power cut
    /// counts as far as it was saved. None unless set.
    std::optional<std::chrono::nanoseconds> deadline{};
    /// Of the deadline, what installing and restarting will take: downloads must be done before.
    std::chrono::nanoseconds install_time{0};

    /// Progress is passed on no more often than this, and only after so many per cent more.
    std::chrono::nanoseconds progress_interval = std::chrono::seconds{3};
    unsigned progress_step = 5;
    /// How often the update looks at itself, for progress, deadline, and where the time goes.
    std::chrono::nanoseconds look_interval = std::chrono::milliseconds{500};

    /// Of an ordered sink that goes on after a power cut: the state is saved each time so many more
    /// bytes are in it.
    std::uint64_t save_every = std::uint64_t{256} << 10;
    /// How often a firmware is installed, if the old version runs afterwards all the same.
    std::uint32_t installs = 2;

    /// How long to wait until a report of the version has arrived, between a failure and the next
    /// try, and in all.
    std::chrono::nanoseconds report_timeout = std::chrono::seconds{30};
    std::chrono::nanoseconds report_again = std::chrono::seconds{5};
    std::chrono::nanoseconds report_for = std::chrono::minutes{10};

    /// Headers, timeouts and whatever else all downloads have in common. Target, part, deadline and
    /// `max_size` are set by the update.
    cleave::request request{};
};

/// What an update did, for better or worse.
struct update_report {
    std::string module;
    /// The version expected, the one that ran at the start, and the one that ran last.
    std::string version;
    std::string former;
    std::string running;
    /// How far it came.
    update_stage stage = update_stage::idle;
    /// Whether any report of a version has arrived.
    bool version_told = false;
    /// Bytes in place of all files, and how many of them were there before this run.
    std::uint64_t bytes = 0;
    std::uint64_t bytes_resumed = 0;
    /// Of each download of this run, in order; a file may have several.
    std::vector<report> downloads{};
    /// Of this run.
    std::chrono::nanoseconds elapsed{0};
    time_spent spent{};
    /// The last warning that it would not make its deadline.
    std::optional<deadline_warning> late{};
    /// Why it failed; empty after success, and where it is to go on later.
    std::optional<update_failure> failed{};
};

namespace detail {

// The caller's planner, of which the first bytes are not asked for any more. Its list is checked
// before, against the whole.
template <range_planner Planner>
class rest_of_plan {
  public:
    rest_of_plan(Planner planner, segment rest) : planner_(std::move(planner)), rest_(rest) {}

    [[nodiscard]] segment next(segment gap, plan_state const& s) const noexcept {
        return planner_.next(gap, s);
    }
    [[nodiscard]] std::uint64_t opening() const requires requires(Planner const& p) { p.opening(); }
    {
        if (rest_.first == 0) return planner_.opening();
        return planner_.next(rest_, {rest_, rest_.size(), 1}).size();
    }
    [[nodiscard]] std::uint64_t most_segments() const requires requires(Planner const& p) {
        p.most_segments();
    }
    { return planner_.most_segments(); }
    [[nodiscard]] std::optional<plan_fault> fault() const { return find_plan_fault(planner_); }

  private:
    Planner planner_;
    segment rest_;
};

// Looks on for an update.
class update_watcher : public ignores_other_events {
  public:
    struct owner {
        virtual ~owner() = default;
        virtual void looked(std::uint64_t download, progress const& p) noexcept = 0;
        virtual void resumed(std::uint64_t bytes) noexcept = 0;
    };
    /// `download`: tells downloads apart.
    update_watcher(std::weak_ptr<owner> of, std::uint64_t download,
                   std::chrono::nanoseconds interval)
        : owner_(std::move(of)), download_(download), interval_(interval) {}

    using ignores_other_events::on;
    void on(progress const& p) noexcept {
        if (auto const o = owner_.lock()) o->looked(download_, p);
    }
    void on(download_resumed const& r) noexcept {
        if (auto const o = owner_.lock()) o->resumed(r.bytes);
    }
    [[nodiscard]] std::chrono::nanoseconds interval() const noexcept { return interval_; }

  private:
    std::weak_ptr<owner> owner_;
    std::uint64_t download_;
    std::chrono::nanoseconds interval_;
};

// Has the update ask for a fresh link.
class update_source {
  public:
    using fetched = std::function<void(std::error_code, request)>;
    struct owner {
        virtual ~owner() = default;
        virtual void fetch(fetched h) = 0;
    };
    explicit update_source(std::weak_ptr<owner> of) : owner_(std::move(of)) {}

    [[nodiscard]] bool available() const noexcept { return true; }
    template <class Handler>
    void async_fetch(request const&, Handler h) {
        if (auto const o = owner_.lock()) o->fetch(std::move(h));
    }

  private:
    std::weak_ptr<owner> owner_;
};

// The operation without its handler. All of it runs on one strand, but what the device may block
// in.
template <class Executor, update_device Device, class Policies>
class update_op : public update_watcher::owner,
                  public update_source::owner,
                  public std::enable_shared_from_this<update_op<Executor, Device, Policies>> {
    using strand_type = asio::strand<Executor>;
    using timer_type = typename Policies::timer_template::template type<strand_type>;
    using clock_type = typename timer_type::clock_type;
    using time = std::chrono::nanoseconds;
    using sink_type = decltype(std::declval<Device&>().sink(std::declval<firmware const&>(),
                                                            std::size_t{}, std::uint64_t{}));
    using verifier_type = image_digest<typename Device::hasher_type>;

    // Whether a file goes on behind what is there of it, and the device says what that is. A sink
    // that can itself go on has a journal for it.
    static constexpr bool goes_on =
        sink_type::traits.ordered && !sink_type::traits.resumable && rereading_device<Device>;

    static_assert(std::copy_constructible<Policies>, "policies are copied for each file");

  public:
    update_op(Executor const& ex, std::optional<firmware> what, std::string module, Device& device,
              Policies how, update_options options)
        : executor_(ex), strand_(ex), io_work_(ex), device_(device), how_(std::move(how)),
          options_(std::move(options)), module_(std::move(module)), timer_(strand_) {
        if (what) firmware_ = std::make_shared<firmware const>(*std::move(what));
        report_.module = module_;
        if (firmware_) report_.version = firmware_->version;
    }
    update_op(update_op const&) = delete;
    update_op& operator=(update_op const&) = delete;
    ~update_op() override { how_.control.detach(); }

    template <class CancellationSlot>
    void start(CancellationSlot slot) {
        asio::post(strand_, [self = this->shared_from_this()] { self->begin(); });
        if (!slot.is_connected()) return;
        slot.assign([weak = this->weak_from_this()](asio::cancellation_type type) {
            if (type == asio::cancellation_type::none) return;
            if (auto const self = weak.lock()) self->how_.control.cancel();
        });
    }

  private:
    // Takes the outcome, for the handler to be called with when this operation is gone.
    virtual void complete(std::error_code ec, update_report result) = 0;

    // ---- the order of things ----------------------------------------------------------------

    void begin() {
        started_ = now();
        listen();
        if (firmware_) {
            if (auto const fault = find_firmware_fault(*firmware_))
                return fail(update_step::upgrade, fault->why, fault->message(*firmware_));
            for (firmware_file const& f : firmware_->files)
                if (auto const fault = find_plan_fault(how_.plan, segment{0, f.size - 1}))
                    return fail(update_step::upgrade, fault->why,
                                failure::of(fault->why, phase::setup, fault->detail()).message());
        }
        in_background(
            [](update_op& op) {
                std::error_code ec;
                std::array<std::byte, update_state_size> saved;
                std::size_t const n = op.device_.load(op.module_, saved, ec);
                if (ec || n > saved.size()) return ec;
                op.recalled_ = decode_update_state(std::span{saved}.first(n));
                return ec;
            },
            [](update_op& op, std::error_code ec) {
                if (ec) return op.device_failed(ec, "reading the state of the update");
                op.recalled();
            });
    }

    // What an earlier run left, or a beginning.
    void recalled() {
        running_ = report_.former = report_.running = device_.current_version(module_);
        bool const known = recalled_ && recalled_->stage != update_stage::idle;
        if (known && (!firmware_ || recalled_->fingerprint == fingerprint(*firmware_))) {
            state_ = *recalled_;
            report_.version = state_.version;
            // It may have restarted before it could say that it is installed.
            if (running_ == state_.version && state_.stage < update_stage::installed)
                state_.stage = update_stage::installed;
            if (state_.stage < update_stage::installed)
                report_.bytes_resumed = in_place_before(state_.file) + state_.bytes;
            enter(state_.stage);
            if (state_.stage >= update_stage::installed && running_ == state_.version)
                return go_on(); // reported when it is confirmed
            tell_version_once();
            return go_on();
        }
        tell_version_once();
        if (!firmware_) return end_when_told(update_error::no_update);
        state_ = {.stage = update_stage::told,
                  .fingerprint = fingerprint(*firmware_),
                  .version = firmware_->version,
                  .former = version_mark(running_)};
        // There is nothing to be done but to say so.
        if (running_ == state_.version) state_.stage = update_stage::confirmed;
        save_and([](update_op& op) {
            op.enter(op.state_.stage);
            op.go_on();
        });
    }

    void go_on() {
        try {
            next();
        } catch (...) {
            std::error_code const ec = code_of_exception();
            fail(update_step::upgrade, ec,
                 std::string{"at stage "} + to_string(state_.stage) + ": " + ec.message());
        }
    }

    void next() {
        if (ended_) return;
        if (cancelled_) return fail_cancelled();
        switch (state_.stage) {
        case update_stage::idle:
        case update_stage::told:
            if (!firmware_) return end_when_told(update_error::firmware_needed);
            if (is_late()) return fail_late();
            return advance(update_stage::downloading);
        case update_stage::downloading:
            if (!firmware_) return end_when_told(update_error::firmware_needed);
            if (is_late()) return fail_late();
            if (state_.file < firmware_->files.size()) return download();
            return advance(update_stage::verified);
        case update_stage::verified:
            if (!firmware_) return end_when_told(update_error::firmware_needed);
            report_.bytes = firmware_->size();
            tell_progress(100, 0, true);
            if (auto const left = deadline_left(); left && *left <= time{0}) return fail_late();
            return install();
        case update_stage::installed: return look_at_version();
        case update_stage::confirmed: return report_version();
        case update_stage::reported: return finish({});
        }
    }

    void advance(update_stage to) {
        state_.stage = to;
        save_and([](update_op& op) {
            op.enter(op.state_.stage);
            op.go_on();
        });
    }

    // Saved, if it is worth that.
    void enter(update_stage stage) {
        report_.stage = stage;
        if constexpr (requires { device_.entered(module_, stage); })
            device_.entered(module_, stage);
    }

    // ---- download ---------------------------------------------------------------------------

    // What is known of the file that is on its way, beside the strand too.
    struct arriving {
        std::shared_ptr<firmware const> what;
        std::size_t index = 0;
        std::uint64_t from = 0;
        /// As it is to be saved, with where the file can begin anew.
        update_state state;
        std::uint64_t saved = 0;
        time began{0};
        std::optional<std::uint64_t> size_on_server;
    };

    void download() {
        firmware_file const& file = firmware_->files[state_.file];
        arriving_ = std::make_shared<arriving>();
        arriving_->what = firmware_;
        arriving_->index = state_.file;
        arriving_->state = state_;
        if constexpr (goes_on) {
            // The last block comes again, if it was all there, since something has to come.
            std::uint64_t const block = device_.image_block(*firmware_, state_.file);
            std::uint64_t const most = block == 0 ? 0 : (file.size - 1) / block * block;
            std::uint64_t const from = std::min(state_.bytes, most);
            arriving_->from = block == 0 ? 0 : from - from % block;
        }
        arriving_->state.bytes = arriving_->saved = arriving_->from;
        arriving_->began = started_;

        request what = options_.request;
        std::error_code ec;
        what.target = url::parse(file.url, ec);
        what.url_error = ec;
        what.max_size = file.size;
        what.part.reset();
        if (arriving_->from != 0) what.part = segment{arriving_->from, file.size - 1};
        if (auto const left = time_left()) what.timeouts.deadline = std::max(*left, time{1});

        base_ = in_place_before(state_.file) + arriving_->from;
        if (!run_began_) {
            run_began_ = now();
            run_base_ = base_;
        }

        sink_type sink = device_.sink(*firmware_, state_.file, arriving_->from);
        std::uint64_t window = 0;
        if constexpr (sink_type::traits.ordered) window = sink.window();
        meter_->begin(window, file.size - arriving_->from, now());
        verifier_.emplace(*parse_digest_algorithm(file.method), file.digest, prefix());
        auto const self = this->weak_from_this();
        Policies mine{how_};
        auto how = Policies{mine}
                       .with_plan(rest_of_plan{std::move(mine.plan),
                                               segment{arriving_->from, file.size - 1}})
                       .with_verify(*verifier_)
                       .with_pace(timed_pacer{std::move(mine.pace), meter_})
                       .with_observer(
                           tee_observer{std::move(mine.observe),
                                        update_watcher{self, ++download_, options_.look_interval}});
        tell_progress(percent_of(base_), 0, false);
        if constexpr (asking_device<Device>)
            run(std::move(what), std::move(sink), std::move(how).with_source(update_source{self}));
        else
            run(std::move(what), std::move(sink), std::move(how));
    }

    template <class How>
    void run(request what, sink_type sink, How how) {
        cleave::async_download(
            executor_, std::move(what),
            timed_sink<sink_type, clock_type>{std::move(sink), meter_, hooks()}, std::move(how),
            // Not bound to the strand: of an `any_io_executor` Asio 1.22 has no work guard for one.
            [self = this->shared_from_this()](std::error_code ec, report r) mutable {
                auto strand = self->strand_;
                asio::post(strand, [self = std::move(self), ec, r = std::move(r)]() mutable {
                    self->downloaded(ec, std::move(r));
                });
            });
    }

    [[nodiscard]] image_prefix prefix() {
        if constexpr (goes_on) {
            if (arriving_->from == 0) return {};
            return [device = &device_, a = arriving_](auto const& take) {
                std::error_code ec;
                std::array<std::byte, 4096> some;
                for (std::uint64_t at = 0; at != a->from && !ec;) {
                    std::span const to = std::span{some}.first(static_cast<std::size_t>(
                        std::min<std::uint64_t>(some.size(), a->from - at)));
                    device->read_image(*a->what, a->index, at, to, ec);
                    if (!ec) take(to);
                    at += to.size();
                }
                return ec;
            };
        }
        return {};
    }

    [[nodiscard]] sink_hooks hooks() {
        sink_hooks h;
        h.opens = [a = arriving_](std::optional<std::uint64_t> size) -> std::error_code {
            if (!size) return {};
            a->size_on_server = a->from + *size;
            if (*a->size_on_server == a->what->files[a->index].size) return {};
            return update_error::size_differs;
        };
        h.delivered = [device = &device_, a = arriving_, module = module_,
                       every = options_.save_every](std::uint64_t end) {
            std::error_code ec;
            (void)device, (void)every; // where it cannot go on
            if constexpr (goes_on) {
                std::uint64_t const block = device->image_block(*a->what, a->index);
                if (block == 0) return ec;
                std::uint64_t const at = a->from + end;
                a->state.bytes = at - at % block;
                if (a->state.bytes - a->saved < std::max<std::uint64_t>(every, 1)) return ec;
                store(*device, module, a->state, a->began, ec);
                a->saved = a->state.bytes;
            }
            return ec;
        };
        h.beside = [background = how_.background, ex = executor_](std::function<void()> f) {
            background.post(ex, std::move(f));
        };
        return h;
    }

    void downloaded(std::error_code ec, report r) {
        listen();
        meter_->end(now());
        auto const arrived = std::exchange(arriving_, nullptr);
        firmware_file const& file = firmware_->files[state_.file];
        std::optional<failure> const failed = r.failed;
        std::string const tried = effort(r);
        report_.bytes_resumed += r.bytes_resumed;
        report_.bytes = base_ + r.bytes;
        report_.downloads.push_back(std::move(r));
        if (ended_) return;
        if (!ec) {
            ++state_.file;
            state_.bytes = 0;
            if (state_.file == firmware_->files.size()) return advance(update_stage::verified);
            return save_and([](update_op& op) { op.go_on(); });
        }
        state_.bytes = arrived->state.bytes;
        if (ec == error::cancelled) return fail_cancelled();
        if (ec == error::deadline_exceeded) return fail_late();
        if (ec == error::digest_mismatch) {
            state_.bytes = 0;
            // What an earlier run left may be to blame: of an object that has changed since.
            if (arrived->from != 0) {
                report_.bytes_resumed -= arrived->from;
                return save_and([](update_op& op) { op.go_on(); });
            }
            return fail(update_step::verification, ec,
                        about(file) + "its digest is " + verifier_->found() +
                            ", but the platform told " + file.digest +
                            ": the bytes received do not have the digest that was expected; "
                            "nothing is installed; check the digest on the platform, and the file "
                            "on the server");
        }
        if (ec == error::object_too_large || ec == update_error::size_differs)
            return fail(update_step::verification, update_error::size_differs,
                        about(file) + size_text(*arrived, file) +
                            make_error_code(update_error::size_differs).message());
        std::string const text =
            ec.category() == update_category()
                ? (failed->detail.empty() ? "" : failed->detail + ": ") + ec.message()
                : failed->message();
        fail(step_of(*failed), ec, about(file) + doing(*failed, file) + text + tried);
    }

    // What was being done, where the failure does not say so itself. Of the link no more than the
    // host: it may be a secret.
    [[nodiscard]] static std::string doing(failure const& f, firmware_file const& file) {
        if (f.code == update_error::flash_too_small)
            return "the image has " + std::to_string(file.size) + " bytes: ";
        if (f.where == phase::sink && f.code.category() != error_category())
            return "writing the image: ";
        if ((f.where != phase::head && f.where != phase::body) || !f.detail.empty()) return {};
        std::error_code ec;
        auto const from = url::parse(file.url, ec);
        return ec ? std::string{} : "from " + from.host_field() + ": ";
    }

    // What was done about a failure that might have passed, and how more is done.
    [[nodiscard]] static std::string effort(report const& r) {
        if (!r.failed || r.failed->kind != cause::passing ||
            r.failed->code.category() == update_category())
            return {};
        std::string text = "; given up after " + std::to_string(r.retries + 1) +
                           (r.retries == 0 ? " try" : " tries") + " in " + seconds_of(r.elapsed);
        if (r.to_first_reply == time{0})
            return text + " without a reply; backoff::first_tries is how often a server is tried "
                          "that has not answered yet";
        return text + "; backoff::tries is how often it is tried in a row";
    }

    [[nodiscard]] static std::string size_text(arriving const& a, firmware_file const& file) {
        std::string const told = "the platform told " + std::to_string(file.size) + " bytes, ";
        if (!a.size_on_server) return told + "the server has more: ";
        return told + "the server has " + std::to_string(*a.size_on_server) + ": ";
    }

    [[nodiscard]] static update_step step_of(failure const& f) noexcept {
        if (f.code.category() == update_category()) {
            if (f.code == update_error::flash_too_small) return update_step::install;
            if (f.code == update_error::platform_silent) return update_step::download;
            return update_step::upgrade;
        }
        if (f.where == phase::verify) return update_step::verification;
        if (f.kind == cause::configuration) return update_step::upgrade;
        if (f.kind == cause::storage || f.where == phase::sink) return update_step::install;
        return update_step::download;
    }

    // Where there are several files: which it is.
    [[nodiscard]] std::string about(firmware_file const& file) const {
        if (firmware_->files.size() == 1) return {};
        std::string text = "file " + std::to_string(state_.file + 1) + " of " +
                           std::to_string(firmware_->files.size());
        if (!file.name.empty()) text += " (" + file.name + ")";
        return text + ": ";
    }

    [[nodiscard]] std::uint64_t in_place_before(std::size_t index) const noexcept {
        std::uint64_t sum = 0;
        if (!firmware_) return sum;
        for (std::size_t i = 0; i != std::min(index, firmware_->files.size()); ++i)
            sum += firmware_->files[i].size;
        return sum;
    }

    // A fresh link, from any strand.
    void fetch(update_source::fetched h) override {
        asio::post(strand_, [self = this->shared_from_this(), h = std::move(h)] {
            if constexpr (asking_device<Device>) {
                if (self->ended_ || !self->arriving_) return;
                auto got = [weak = self->weak_from_this(), h,
                            download = self->download_](std::error_code ec, firmware fresh) {
                    auto const op = weak.lock();
                    if (!op) return;
                    asio::post(op->strand_,
                               [op, h, download, ec, fresh = std::move(fresh)]() mutable {
                                   // Too late, there is nobody any more who wants to know.
                                   if (!op->arriving_ || op->download_ != download) return;
                                   op->fetched(ec, std::move(fresh), h);
                               });
                };
                try {
                    self->device_.async_ask_again(self->module_, std::move(got));
                } catch (...) {
                    h(code_of_exception(), request{});
                }
            }
        });
    }
    void fetched(std::error_code ec, firmware fresh, update_source::fetched const& h) {
        if (!ec) {
            if (auto const fault = find_firmware_fault(fresh))
                ec = fault->why;
            else if (fingerprint(fresh) != state_.fingerprint)
                ec = update_error::firmware_changed;
        }
        if (ec) return h(ec, request{});
        firmware_ = std::make_shared<firmware const>(std::move(fresh));
        h({}, request{firmware_->files[state_.file].url});
    }

    // ---- progress ---------------------------------------------------------------------------

    // On the download's strand.
    void looked(std::uint64_t download, progress const& p) noexcept override {
        meter_->look_at(p, now());
        try {
            asio::post(strand_,
                       [self = this->shared_from_this(), download, bytes = p.bytes, rate = p.rate] {
                           if (!self->ended_ && self->arriving_ && self->download_ == download)
                               self->progressed(self->base_ + bytes, rate);
                       });
        } catch (...) {
            // Progress can be told another time.
        }
    }
    void resumed(std::uint64_t bytes) noexcept override {
        try {
            asio::post(strand_,
                       [self = this->shared_from_this(), bytes] { self->run_base_ += bytes; });
        } catch (...) {
            // Only a rate is wrong then.
        }
    }

    void progressed(std::uint64_t in_place, std::uint64_t rate) {
        tell_progress(percent_of(in_place), rate, false);
        look_at_deadline(in_place);
    }

    // 100 is for what is proven.
    [[nodiscard]] unsigned percent_of(std::uint64_t in_place) const noexcept {
        progress p;
        p.bytes = in_place;
        p.total = firmware_->size();
        return std::min(99U, p.percent());
    }

    void tell_progress(unsigned percent, std::uint64_t rate, bool now_or_never) {
        percent_ = std::max(percent_, percent);
        if (told_percent_) {
            bool const soon = now() - told_at_ < options_.progress_interval;
            bool const few = percent_ - *told_percent_ < std::max(options_.progress_step, 1U);
            if (now_or_never ? percent_ == *told_percent_ : soon || few) return;
        }
        told_percent_ = percent_;
        told_at_ = now();
        pass_on({.module = module_, .stage = state_.stage, .percent = percent_, .rate = rate});
    }

    void pass_on(update_progress const& p) {
        try {
            device_.report_progress(p);
        } catch (...) {
            // Who cannot be told does not end an update.
        }
    }

    void look_at_deadline(std::uint64_t in_place) {
        auto const left = time_left();
        if (!left) return;
        time const run = now() - *run_began_;
        // At first there is not much to go by.
        if (run < *options_.deadline / 20) return;
        std::uint64_t const got = in_place > run_base_ ? in_place - run_base_ : 0;
        if (got == 0 && run < *options_.deadline / 4) return;
        deadline_warning w;
        w.bytes_left = firmware_->size() - std::min(firmware_->size(), in_place);
        w.left = *left + options_.install_time;
        double needed = static_cast<double>(time::max().count());
        if (got != 0) {
            double const rate = static_cast<double>(got) / static_cast<double>(run.count());
            w.rate = static_cast<std::uint64_t>(rate * 1e9);
            needed = std::min(needed, static_cast<double>(w.bytes_left) / rate);
        }
        auto const room = static_cast<double>(std::max(*left, time{0}).count());
        if (needed <= room) {
            // Only when there is time to spare a second warning would be news.
            if (needed < room * 0.75) warned_ = false;
            return;
        }
        if (std::exchange(warned_, true)) return;
        w.needed = needed < 9e18 ? time{static_cast<std::int64_t>(needed)} : time::max();
        if (w.needed < time::max() - options_.install_time) w.needed += options_.install_time;
        w.spent = meter_->spent();
        w.because = w.spent.most(w.bytes_left, *left);
        report_.late = w;
        pass_on({.module = module_,
                 .stage = state_.stage,
                 .percent = percent_,
                 .rate = w.rate,
                 .late = &w});
    }

    // ---- install, confirm, report -----------------------------------------------------------

    void install() {
        ++state_.installs;
        save_and([](update_op& op) {
            op.in_background(
                [](update_op& o) {
                    std::error_code ec;
                    o.install_result_ = o.device_.install(*o.firmware_, ec);
                    return ec;
                },
                [](update_op& o, std::error_code ec) {
                    if (ec) return o.device_failed(ec, "installing version " + o.state_.version);
                    o.installed();
                });
        });
    }
    void installed() {
        state_.stage = update_stage::installed;
        save_and([](update_op& op) {
            op.enter(update_stage::installed);
            if (op.install_result_ == install_result::restart)
                return op.finish(update_error::restart_needed);
            op.running_ = op.report_.running = op.device_.current_version(op.module_);
            op.go_on();
        });
    }

    // Does it run what was installed?
    void look_at_version() {
        if (running_ == state_.version) return confirm();
        std::string const both = "it runs " + running_ + ", expected was " + state_.version + ": ";
        if (version_mark(running_) != state_.former)
            return fail_for_good(update_step::upgrade, update_error::version_wrong,
                                 both + make_error_code(update_error::version_wrong).message());
        if (state_.installs < options_.installs) return advance(update_stage::verified);
        fail_for_good(update_step::upgrade, update_error::version_unchanged,
                      both + make_error_code(update_error::version_unchanged).message());
    }

    void confirm() {
        in_background(
            [](update_op& op) {
                std::error_code ec;
                op.device_.confirm(op.module_, op.state_.version, ec);
                return ec;
            },
            [](update_op& op, std::error_code ec) {
                if (!ec) return op.advance(update_stage::confirmed);
                op.running_ = op.report_.running = op.device_.current_version(op.module_);
                op.tell_version_once();
                op.fail_for_good(update_step::install, ec,
                                 "confirming version " + op.state_.version + ": " + ec.message());
            });
    }

    // Again and again, until it has arrived.
    void report_version() {
        if (!reporting_since_) reporting_since_ = now();
        running_ = report_.running = device_.current_version(module_);
        if (running_ != state_.version) {
            state_.stage = update_stage::installed;
            return look_at_version();
        }
        // Tried once at least, for the device does run it.
        bool const late = deadline_left() && *deadline_left() <= time{0};
        if (last_report_error_ && (late || now() - *reporting_since_ >= options_.report_for)) {
            return fail(update_step::upgrade, update_error::version_not_reported,
                        "version " + state_.version + ": " + last_report_error_.message() + ": " +
                            make_error_code(update_error::version_not_reported).message());
        }
        tell_version([](update_op& op, std::error_code ec) {
            if (!ec) return op.version_arrived();
            op.last_report_error_ = ec;
            op.wait(op.options_.report_again, [](update_op& o) { o.go_on(); });
        });
    }
    void version_arrived() {
        state_.stage = update_stage::reported;
        // If it is not forgotten the version is reported once more, at the next start.
        in_background(
            [](update_op& op) {
                std::error_code ec;
                op.device_.save(op.module_, {}, ec);
                return ec;
            },
            [](update_op& op, std::error_code) {
                op.enter(update_stage::reported);
                op.finish({});
            });
    }

    // Calls `then` once, with what came of it or a timeout.
    template <class Then>
    void tell_version(Then then) {
        std::uint64_t const telling = ++telling_;
        wait(options_.report_timeout, [telling, then](update_op& op) {
            if (telling != op.telling_) return;
            ++op.telling_;
            then(op, std::make_error_code(std::errc::timed_out));
        });
        auto done = [weak = this->weak_from_this(), telling, then](std::error_code ec) {
            auto const op = weak.lock();
            if (!op) return;
            asio::post(op->strand_, [op, telling, then, ec] {
                if (!ec) op->report_.version_told = true;
                if (op->ended_ || telling != op->telling_) return;
                ++op->telling_;
                op->stop_waiting();
                then(*op, ec);
            });
        };
        try {
            device_.async_report_version(module_, running_, done);
        } catch (...) {
            done(code_of_exception());
        }
    }
    // At the start, beside what else is to be done.
    void tell_version_once() {
        auto done = [weak = this->weak_from_this()](std::error_code ec) {
            auto const op = weak.lock();
            if (!op) return;
            asio::post(op->strand_, [op, ec] {
                op->told_once_ = true;
                if (!ec) op->report_.version_told = true;
                if (!op->ended_ && op->ends_with_) op->finish(*op->ends_with_);
            });
        };
        try {
            device_.async_report_version(module_, running_, std::move(done));
        } catch (...) {
            told_once_ = true;
        }
    }
    // There is nothing else to do than to report the version.
    void end_when_told(update_error with) {
        if (told_once_) return finish(with);
        ends_with_ = with;
        wait(options_.report_timeout, [with](update_op& op) { op.finish(with); });
    }

    // ---- the end ----------------------------------------------------------------------------

    void fail_cancelled() {
        end_saved(update_step::upgrade, error::cancelled,
                  make_error_code(error::cancelled).message(), false);
    }
    void fail_late() {
        bool const loading = state_.stage <= update_stage::downloading;
        std::string text = "after " + seconds_of(state_spent()) + " " +
                           std::to_string(report_.bytes) + " of " +
                           std::to_string(firmware_->size()) + " bytes are in place; ";
        if (run_began_) {
            time_spent const spent = meter_->spent();
            text += spent.message() + "; " +
                    describe(spent.most(
                        firmware_->size() - std::min(firmware_->size(), report_.bytes), time{0})) +
                    "; ";
        }
        // Whoever tries again has the whole time for it.
        state_.spent = {};
        started_spending_ = now();
        end_saved(loading ? update_step::download : update_step::upgrade,
                  update_error::deadline_missed,
                  text + make_error_code(update_error::deadline_missed).message(), true);
    }
    void device_failed(std::error_code ec, std::string what) {
        fail(update_step::install, ec, what + ": " + ec.message());
    }
    // Nothing is left to go on with.
    void fail_for_good(update_step step, std::error_code ec, std::string text) {
        state_.stage = update_stage::idle;
        end_saved(step, ec, std::move(text), true);
    }
    // Another call may go on with what there is.
    void fail(update_step step, std::error_code ec, std::string text) {
        end_saved(step, ec, std::move(text), true);
    }

    void end_saved(update_step step, std::error_code ec, std::string text, bool tell) {
        report_.failed = update_failure{step, ec, std::move(text)};
        if (tell)
            pass_on({.module = module_,
                     .stage = report_.stage,
                     .percent = percent_,
                     .failed = &*report_.failed});
        ending_ = true;
        // Nothing was saved that would have to be brought up to date.
        if (state_.fingerprint == 0) return finish(ec);
        in_background(
            [](update_op& op) {
                std::error_code ignored;
                if (op.state_.stage == update_stage::idle)
                    op.device_.save(op.module_, {}, ignored);
                else
                    op.store_now(ignored);
                return ignored;
            },
            // If it cannot be saved, another call begins where it was saved last.
            [ec](update_op& op, std::error_code) { op.finish(ec); });
    }

    void finish(std::error_code ec) {
        if (std::exchange(ended_, true)) return;
        stop_waiting();
        how_.control.detach();
        report_.elapsed = now() - started_;
        report_.spent = meter_->spent();
        complete(ec, std::move(report_));
        io_work_.reset();
    }

    // ---- time -------------------------------------------------------------------------------

    [[nodiscard]] static time now() {
        return std::chrono::duration_cast<time>(clock_type::now().time_since_epoch());
    }
    [[nodiscard]] time state_spent() const { return state_.spent + (now() - spending_since()); }
    [[nodiscard]] time spending_since() const { return started_spending_.value_or(started_); }
    [[nodiscard]] std::optional<time> deadline_left() const {
        if (!options_.deadline) return std::nullopt;
        return *options_.deadline - state_spent();
    }
    // For downloads.
    [[nodiscard]] std::optional<time> time_left() const {
        auto const left = deadline_left();
        if (!left) return left;
        return *left - options_.install_time;
    }
    [[nodiscard]] bool is_late() const {
        auto const left = deadline_left();
        return left && *left <= time{0};
    }

    // Once only, and of several waits the last one counts. Keeps the operation.
    template <class Then>
    void wait(time t, Then then) {
        if (auto const left = deadline_left(); left && *left > time{0}) t = std::min(t, *left);
        timer_.expires_after(std::chrono::ceil<typename clock_type::duration>(t));
        timer_.async_wait(
            [self = this->shared_from_this(), set = ++timer_set_, then](std::error_code) {
                if (!self->ended_ && set == self->timer_set_) then(*self);
            });
    }
    void stop_waiting() {
        ++timer_set_;
        timer_.cancel();
    }

    // ---- the rest ---------------------------------------------------------------------------

    // A download listens to the control while it runs, and this in between.
    void listen() {
        how_.control.attach([weak = this->weak_from_this()](any_event const& e) {
            if (!std::holds_alternative<event::cancelled>(e)) return;
            auto const self = weak.lock();
            if (!self) return;
            asio::post(self->strand_, [self] {
                // Something is under way that tells when it has ended; or nothing is but waiting.
                self->cancelled_ = true;
                bool const waits = self->ends_with_ || self->reporting_since_;
                if (self->ended_ || self->ending_ || self->busy_ || !waits) return;
                self->stop_waiting();
                ++self->telling_;
                self->fail_cancelled();
            });
        });
    }

    // Runs `work`, `std::error_code(update_op&)`, where it may block, and then `then` on the
    // strand.
    template <class Work, class Then>
    void in_background(Work work, Then then) {
        busy_ = true;
        auto back = [](update_op& op, Then const& f, std::error_code ec) {
            op.busy_ = false;
            try {
                f(op, ec);
            } catch (...) {
                std::error_code const thrown = code_of_exception();
                if (op.ending_) return op.finish(thrown);
                op.fail(update_step::upgrade, thrown, thrown.message());
            }
        };
        try {
            how_.background.post(
                executor_, [self = this->shared_from_this(), work, then, back]() mutable {
                    std::error_code ec;
                    try {
                        ec = work(*self);
                    } catch (...) {
                        ec = code_of_exception();
                    }
                    // The last owner must not be the thread that runs this.
                    auto strand = self->strand_;
                    asio::post(strand,
                               [self = std::move(self), then, back, ec] { back(*self, then, ec); });
                });
        } catch (...) {
            // There is no thread to be had.
            asio::post(strand_, [self = this->shared_from_this(), then, back,
                                 ec = code_of_exception()] { back(*self, then, ec); });
        }
    }

    template <class Then>
    void save_and(Then then) {
        in_background(
            [](update_op& op) {
                std::error_code ec;
                op.store_now(ec);
                return ec;
            },
            [then](update_op& op, std::error_code ec) {
                if (ec) return op.device_failed(ec, "saving the state of the update");
                then(op);
            });
    }
    void store_now(std::error_code& ec) { store(device_, module_, state_, spending_since(), ec); }
    static void store(Device& device, std::string const& module, update_state state, time since,
                      std::error_code& ec) {
        state.spent += std::chrono::duration_cast<std::chrono::milliseconds>(now() - since);
        device.save(module, encode(state), ec);
    }

    Executor executor_;
    strand_type strand_;
    asio::executor_work_guard<Executor> io_work_;
    Device& device_;
    Policies how_;
    update_options options_;
    std::string module_;
    std::shared_ptr<firmware const> firmware_;
    timer_type timer_;
    std::uint64_t timer_set_ = 0;

    std::optional<update_state> recalled_;
    update_state state_;
    std::string running_;
    update_report report_;
    time started_{0};
    std::optional<time> started_spending_;

    std::shared_ptr<arriving> arriving_;
    std::optional<verifier_type> verifier_;
    std::shared_ptr<time_meter> meter_ = std::make_shared<time_meter>();
    std::uint64_t download_ = 0;
    std::uint64_t base_ = 0; ///< in place before the bytes of the download
    std::optional<time> run_began_;
    std::uint64_t run_base_ = 0; ///< in place when the run began
    bool warned_ = false;

    unsigned percent_ = 0;
    std::optional<unsigned> told_percent_;
    time told_at_{0};

    install_result install_result_ = install_result::running;
    std::optional<time> reporting_since_;
    std::error_code last_report_error_;
    std::uint64_t telling_ = 0;
    bool told_once_ = false;
    std::optional<update_error> ends_with_;

    bool busy_ = false; ///< something is under way in the background
    bool cancelled_ = false;
    bool ending_ = false;
    bool ended_ = false;
};

// Keeps the handler, and calls it when everything else of the operation is gone.
template <class Executor, class Handler>
class update_handler_holder {
  public:
    update_handler_holder(Executor const& ex, Handler handler)
        : work_(asio::get_associated_executor(handler, ex)), handler_(std::move(handler)) {}
    update_handler_holder(update_handler_holder const&) = delete;
    update_handler_holder& operator=(update_handler_holder const&) = delete;
    ~update_handler_holder() {
        if (!result_) return; // the execution context went away first
        asio::post(work_.get_executor(),
                   [h = std::move(handler_), ec = result_->first,
                    r = std::move(result_->second)]() mutable { std::move(h)(ec, std::move(r)); });
    }

  protected:
    asio::executor_work_guard<asio::associated_executor_t<Handler, Executor>> work_;
    Handler handler_;
    std::optional<std::pair<std::error_code, update_report>> result_;
};

// An update with the handler that waits for it. The holder comes first, so that it goes last.
template <class Executor, class Handler, class Device, class Policies>
class update_for final : update_handler_holder<Executor, Handler>,
                         public update_op<Executor, Device, Policies> {
    using holder = update_handler_holder<Executor, Handler>;
    using op = update_op<Executor, Device, Policies>;

  public:
    template <class... Args>
    update_for(Executor const& ex, Handler handler, Args&&... args)
        : holder(ex, std::move(handler)), op(ex, std::forward<Args>(args)...) {}

    void start() { op::start(asio::get_associated_cancellation_slot(this->handler_)); }

  private:
    void complete(std::error_code ec, update_report what) override {
        this->result_.emplace(ec, std::move(what));
    }
};

template <class Executor>
class initiate_update {
  public:
    using executor_type = Executor;
    explicit initiate_update(Executor ex) : executor_(std::move(ex)) {}
    [[nodiscard]] executor_type get_executor() const noexcept { return executor_; }

    template <class Handler, class Device, class Policies>
    void operator()(Handler&& handler, std::optional<firmware> what, std::string module,
                    Device* device, Policies how, update_options options) const {
        using op = update_for<Executor, std::decay_t<Handler>, Device, Policies>;
        std::make_shared<op>(executor_, std::forward<Handler>(handler), std::move(what),
                             std::move(module), *device, std::move(how), std::move(options))
            ->start();
    }

  private:
    Executor executor_;
};

} // namespace detail

/// Brings `what` into `device`, without blocking: told, downloading, verified, installed,
/// confirmed, reported (`update_stage`), each saved by the device before what follows it begins.
///
/// Handler: `void(std::error_code, cleave::update_report)`, called once, on its associated executor
/// and never from within this call, when nothing of the update is under way any more. **No error
/// means that the platform has been told the expected version, and nothing else means success.**
///
/// `update_error::restart_needed`: the image is installed, and runs after a restart. Then call
/// `async_resume_update`. All other errors are failures, of which `update_report::failed` tells
/// step, code and a line of text, as `update_device::report_progress` was told before. What is in
/// place is kept, unless it was wrong: the same call goes on with it, after a power cut or a
/// failure, with the same firmware under a new link, too.
///
/// Before any connection is opened the firmware is looked at (`find_firmware_fault`), and the
/// planner, if it has a list of segments. The version is reported first, before anything is
/// downloaded; an image that waits to be confirmed is confirmed before that. Where `device` runs
/// the expected version already, it is reported, and that is all.
///
/// `how`: as for `async_download`, copied for each file. Its verifier is replaced by the digest
/// that the platform told, its request source by the device, if it is an `asking_device`. Its
/// control serves the whole update.
///
/// An image that an ordered sink has taken in part is hashed with what `read_image` gives back. If
/// the digest is wrong then, all of it is fetched once more.
///
/// Cancellation: by the control, or by the handler's slot: `error::cancelled`, when what the device
/// does in the background has ended. The platform is not told of it.
/// Threads: the executor may run in several. `device` is referred to, and must live until the
/// handler runs, and as long as it calls what it was given; `what`, `how` and `options` are moved
/// in. Other updates of the device, of other modules, may run meanwhile.
template <class Executor, update_device Device, class Policies, class CompletionToken>
auto async_update(Executor const& ex, firmware what, Device& device, Policies how,
                  update_options options, CompletionToken&& token) {
    std::string module = what.module;
    return asio::async_initiate<CompletionToken, void(std::error_code, update_report)>(
        detail::initiate_update<Executor>{ex}, token, std::optional<firmware>{std::move(what)},
        std::move(module), &device, std::move(how), std::move(options));
}
/// The same, with the options as they are.
template <class Executor, update_device Device, class Policies, class CompletionToken>
auto async_update(Executor const& ex, firmware what, Device& device, Policies how,
                  CompletionToken&& token) {
    return cleave::async_update(ex, std::move(what), device, std::move(how), update_options{},
                                std::forward<CompletionToken>(token));
}

/// What a device does first of all when it starts: reports the version of `module`, and goes on
/// with an update that was installed before the restart: confirms it, and reports it. As
/// `async_update`, except that it needs no firmware, and that there are two more errors which are
/// no failures:
///
/// - `update_error::no_update`: none was under way.
/// - `update_error::firmware_needed`: one had begun and is not installed. Ask the platform for the
///   firmware, and call `async_update`; it goes on where it was.
template <class Executor, update_device Device, class Policies, class CompletionToken>
auto async_resume_update(Executor const& ex, std::string module, Device& device, Policies how,
                         update_options options, CompletionToken&& token) {
    return asio::async_initiate<CompletionToken, void(std::error_code, update_report)>(
        detail::initiate_update<Executor>{ex}, token, std::optional<firmware>{}, std::move(module),
        &device, std::move(how), std::move(options));
}
/// The same, with the options as they are.
template <class Executor, update_device Device, class Policies, class CompletionToken>
auto async_resume_update(Executor const& ex, std::string module, Device& device, Policies how,
                         CompletionToken&& token) {
    return cleave::async_resume_update(ex, std::move(module), device, std::move(how),
                                       update_options{}, std::forward<CompletionToken>(token));
}

} // namespace cleave
