// SPDX-License-Identifier: BSL-1.0
//
// A connection to an MQTT broker that comes back by itself, by libmosquitto. It knows topics and
// payloads as text only. The library's loop runs on a thread of its own; all that is told, is told
// on the caller's executor.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <ctime>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <asio/any_io_executor.hpp>
#include <asio/post.hpp>

#include <mosquitto.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

namespace example {

struct mqtt_settings {
    std::string host = "localhost";
    std::uint16_t port = 8883;
    std::string client_id;
    /// The CA that the broker's certificate must be of. Without one there is no TLS.
    std::string ca_file;
    std::string user;
    std::string password;
    int keep_alive_seconds = 15;
};

/// All members must be called, and the link destroyed, on the executor's one thread.
class mqtt_link {
  public:
    mqtt_link(asio::any_io_executor ex, mqtt_settings s)
        : executor_(std::move(ex)), settings_(std::move(s)) {
        static library const at_work;
        client_.reset(mosquitto_new(settings_.client_id.c_str(), true, this));
        if (!client_) throw std::runtime_error{"libmosquitto takes no such client"};
        check(mosquitto_threaded_set(client_.get(), true));
        // What is said here is short, and waited for.
        check(mosquitto_int_option(client_.get(), MOSQ_OPT_TCP_NODELAY, 1));
        if (!settings_.ca_file.empty() &&
            mosquitto_tls_set(client_.get(), settings_.ca_file.c_str(), nullptr, nullptr, nullptr,
                              nullptr) != MOSQ_ERR_SUCCESS)
            throw std::runtime_error{"MQTT: no CA certificate can be read from " +
                                     settings_.ca_file + "; check its path and permissions"};
        if (!settings_.user.empty())
            check(mosquitto_username_pw_set(client_.get(), settings_.user.c_str(),
                                            settings_.password.c_str()));
        // What TLS has to say about a certificate is to be had only while it says it.
        mosquitto_log_callback_set(client_.get(), [](mosquitto* m, void* self, int level, auto) {
            auto const* const tls = static_cast<SSL const*>(mosquitto_ssl_get(m));
            if (level != MOSQ_LOG_ERR || tls == nullptr) return;
            static_cast<mqtt_link*>(self)->verdict_ = SSL_get_verify_result(tls);
        });
        mosquitto_connect_callback_set(client_.get(), [](mosquitto*, void* self, int refused) {
            static_cast<mqtt_link*>(self)->greeted(refused);
        });
        mosquitto_subscribe_callback_set(
            client_.get(), [](mosquitto*, void* self, int id, int, int const*) {
                static_cast<mqtt_link*>(self)->tell([id](mqtt_link& link) { link.subscribed(id); });
            });
        mosquitto_publish_callback_set(client_.get(), [](mosquitto*, void* self, int id) {
            static_cast<mqtt_link*>(self)->tell([id](mqtt_link& link) { link.published(id); });
        });
        mosquitto_message_callback_set(
            client_.get(), [](mosquitto*, void* self, mosquitto_message const* m) {
                std::string payload(static_cast<char const*>(m->payload),
                                    static_cast<std::size_t>(m->payloadlen));
                static_cast<mqtt_link*>(self)->tell(
                    [topic = std::string{m->topic}, payload = std::move(payload)](mqtt_link& link) {
                        if (link.message) link.message(topic, payload);
                    });
            });
    }
    ~mqtt_link() { stop(); }
    mqtt_link(mqtt_link const&) = delete;
    mqtt_link& operator=(mqtt_link const&) = delete;

    /// Told at each connection, the first and those after a loss, when all subscriptions hold. To
    /// be set before `start`, as the two below.
    std::function<void()> connected;
    /// Told once when a connection is lost, or the first cannot be had.
    std::function<void(std::string const& why)> lost;
    std::function<void(std::string const& topic, std::string const& payload)> message;

    void start() {
        thread_ = std::thread{[this] { run(); }};
    }
    /// Nothing is told any more. What was published and has not gone is dropped.
    void stop() {
        alive_.reset();
        {
            std::lock_guard const lock{mutex_};
            stopping_ = true;
        }
        wake_.notify_all();
        if (!thread_.joinable()) return;
        mosquitto_disconnect(client_.get());
        thread_.join();
    }

    [[nodiscard]] bool is_connected() const noexcept { return is_connected_; }

    /// At each connection. At least one, before `start`.
    void subscribe(std::string topic) { subscriptions_.push_back(std::move(topic)); }

    /// Kept until there is a connection and all subscriptions hold, so that no answer is missed,
    /// and sent again until the broker says that it has it: then `done` is called.
    void publish(std::string topic, std::string payload, std::function<void()> done = {}) {
        if (is_connected_) {
            waiting_.emplace(send(topic, payload, 1), std::move(done));
        } else {
            kept_.push_back({std::move(topic), std::move(payload), std::move(done)});
        }
    }
    /// Sent once if there is a connection, and else forgotten.
    void publish_once(std::string const& topic, std::string const& payload) {
        if (is_connected_) send(topic, payload, 0);
    }
    /// Calls `done` when the broker has all that was published so far, and since.
    void when_sent(std::function<void()> done) {
        sent_ = std::move(done);
        if (waiting_.empty() && kept_.empty()) asio::post(executor_, std::exchange(sent_, nullptr));
    }

  private:
    struct library {
        library() { mosquitto_lib_init(); }
        ~library() { mosquitto_lib_cleanup(); }
        library(library const&) = delete;
        library& operator=(library const&) = delete;
    };
    struct kept_message {
        std::string topic;
        std::string payload;
        std::function<void()> done;
    };
    struct destroy {
        void operator()(mosquitto* m) const noexcept { mosquitto_destroy(m); }
    };

    static void check(int code) {
        if (code != MOSQ_ERR_SUCCESS)
            throw std::runtime_error{std::string{"MQTT: "} + mosquitto_strerror(code)};
    }

    int send(std::string const& topic, std::string const& payload, int quality) {
        int id = 0;
        int const code =
            mosquitto_publish(client_.get(), &id, topic.c_str(), static_cast<int>(payload.size()),
                              payload.data(), quality, false);
        // Where the connection has just been lost, the library keeps it.
        if (code != MOSQ_ERR_NO_CONN) check(code);
        return id;
    }

    // ---- on the link's thread ----

    // The library's own loop for threads gives up for good when TLS fails while a broker restarts.
    void run() {
        using namespace std::chrono_literals;
        auto pause = 250ms;
        for (bool first = true;; first = false) {
            greeted_ = false;
            verdict_ = X509_V_OK;
            // Not the asynchronous one, which tries only one of a host's addresses.
            int code = first ? mosquitto_connect(client_.get(), settings_.host.c_str(),
                                                 settings_.port, settings_.keep_alive_seconds)
                             : mosquitto_reconnect(client_.get());
            // A moment longer than it is to run, for the broker to be told.
            for (int last = 10; code == MOSQ_ERR_SUCCESS && last != 0; last -= stopping_ ? 1 : 0)
                code = mosquitto_loop(client_.get(), stopping_ ? 50 : 1000, 1);
            if (stopping_) return;
            if (greeted_) pause = 250ms;
            std::string why = explain(code);
            tell([why = std::move(why)](mqtt_link& link) { link.disconnected(why); });
            std::unique_lock lock{mutex_};
            if (wake_.wait_for(lock, pause, [this] { return stopping_.load(); })) return;
            pause = std::min(pause * 2, std::chrono::milliseconds{4000});
        }
    }
    // What happened, and what to do about it.
    [[nodiscard]] std::string explain(int code) const {
        if (!refused_.empty())
            return refused_ + "; check the device's names, its user and its password, and that the "
                              "platform has such a device";
        std::string const text = plain(mosquitto_strerror(code));
        if (code != MOSQ_ERR_TLS)
            return text + "; check host and port of the broker, and that it is running";
        switch (verdict_) {
        case X509_V_OK:
            return text + "; check that the broker speaks TLS on this port, and that its "
                          "certificate is for this host";
        case X509_V_ERR_CERT_NOT_YET_VALID:
            return "its certificate is not valid yet; check this machine's clock, which says " +
                   today();
        case X509_V_ERR_CERT_HAS_EXPIRED:
            return "its certificate has expired; have it renewed, or set this machine's clock, "
                   "which says " +
                   today();
        default:
            return std::string{"its certificate is refused ("} +
                   X509_verify_cert_error_string(verdict_) +
                   "); check that the CA file is that of this broker";
        }
    }
    // Some end with a full stop.
    [[nodiscard]] static std::string plain(std::string text) {
        if (text.ends_with('.')) text.pop_back();
        return text;
    }
    [[nodiscard]] static std::string today() {
        std::time_t const now = std::time(nullptr);
        std::tm utc{};
        gmtime_r(&now, &utc);
        char text[16];
        return {text, std::strftime(text, sizeof text, "%Y-%m-%d", &utc)};
    }

    void greeted(int refused) {
        greeted_ = refused == 0;
        refused_ = refused == 0 ? "" : plain(mosquitto_connack_string(refused));
        if (greeted_) tell([](mqtt_link& link) { link.reconnected(); });
    }

    // What is posted may run when the link is gone; that happens on the same thread.
    template <class F>
    void tell(F f) {
        asio::post(executor_, [this, weak = is_alive_, f = std::move(f)] {
            if (!weak.expired()) f(*this);
        });
    }

    // ---- on the executor's thread ----

    void reconnected() {
        last_subscription_ = 0;
        for (auto const& topic : subscriptions_)
            mosquitto_subscribe(client_.get(), &last_subscription_, topic.c_str(), 1);
    }
    // The broker answers them in order.
    void subscribed(int id) {
        if (id != last_subscription_) return;
        is_connected_ = true;
        is_told_lost_ = false;
        for (auto& m : std::exchange(kept_, {}))
            publish(std::move(m.topic), std::move(m.payload), std::move(m.done));
        if (connected) connected();
    }
    void disconnected(std::string const& why) {
        is_connected_ = false;
        if (!std::exchange(is_told_lost_, true) && lost) lost(why);
    }
    void published(int id) {
        auto const found = waiting_.find(id);
        if (found == waiting_.end()) return;
        auto const done = std::move(found->second);
        waiting_.erase(found);
        if (done) done();
        if (waiting_.empty() && sent_) std::exchange(sent_, nullptr)();
    }

    asio::any_io_executor executor_;
    mqtt_settings settings_;
    std::unique_ptr<mosquitto, destroy> client_;
    std::shared_ptr<int> alive_ = std::make_shared<int>();
    std::weak_ptr<int> is_alive_ = alive_; // never changed, so that both threads may look
    std::vector<std::string> subscriptions_;
    std::map<int, std::function<void()>> waiting_;
    std::function<void()> sent_;
    std::vector<kept_message> kept_;
    int last_subscription_ = 0;
    bool is_connected_ = false;
    bool is_told_lost_ = false;

    std::thread thread_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<bool> stopping_ = false;
    // Of the link's thread alone.
    bool greeted_ = false;
    std::string refused_;
    long verdict_ = X509_V_OK; // of the last certificate that was not taken
};

} // namespace example
