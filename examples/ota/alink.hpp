// SPDX-License-Identifier: BSL-1.0
//
// What a device and Alibaba Cloud's IoT Platform say to each other about an update: the topics, and
// what stands in the payloads. Both programs here, the device's agent and the platform at the desk,
// read and write with the same functions. It sends nothing: bytes go in, values come out. What
// comes is a stranger's: whatever is not as agreed is refused as `bad_message`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "crc16.hpp"

namespace example {

using json = nlohmann::json;

/// A payload that is not what its topic is for. `what()` says why, without repeating it.
struct bad_message : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// --- Where ---------------------------------------------------------------------------------------

/// Of which product a device is one, and which one.
struct device_id {
    std::string product;
    std::string name;
};

/// The topics of one device.
class topics {
  public:
    explicit topics(device_id const& d)
        : ota_end_("/" + d.product + "/" + d.name),
          sys_("/sys/" + d.product + "/" + d.name + "/thing/") {}

    // From the device.
    [[nodiscard]] std::string inform() const { return "/ota/device/inform" + ota_end_; }
    [[nodiscard]] std::string progress() const { return "/ota/device/progress" + ota_end_; }
    [[nodiscard]] std::string firmware_get() const { return sys_ + "ota/firmware/get"; }
    [[nodiscard]] std::string file_download() const { return sys_ + "file/download"; }

    // To the device.
    [[nodiscard]] std::string upgrade() const { return "/ota/device/upgrade" + ota_end_; }
    [[nodiscard]] std::string firmware_get_reply() const { return firmware_get() + "_reply"; }
    [[nodiscard]] std::string file_download_reply() const { return file_download() + "_reply"; }

  private:
    std::string ota_end_;
    std::string sys_;
};

// --- Reading what may be anything ----------------------------------------------------------------

namespace detail {

inline json parse_object(std::string_view text) {
    json j = json::parse(text, nullptr, false);
    if (!j.is_object()) throw bad_message{"it is not a JSON object"};
    return j;
}

inline json const& member(json const& j, char const* name) {
    auto const found = j.find(name);
    if (found == j.end()) throw bad_message{std::string{"it has no \""} + name + '"'};
    return *found;
}
inline json const& object_in(json const& j, char const* name) {
    json const& value = member(j, name);
    if (!value.is_object()) throw bad_message{std::string{"its \""} + name + "\" is no object"};
    return value;
}

// Identifiers, codes and steps come as text or as a number.
inline std::string text_in(json const& j, char const* name) {
    json const& value = member(j, name);
    if (value.is_string()) return value.get<std::string>();
    if (value.is_number_integer()) return value.dump();
    throw bad_message{std::string{"its \""} + name + "\" is neither text nor a whole number"};
}
inline std::string text_in(json const& j, char const* name, std::string otherwise) {
    return j.contains(name) ? text_in(j, name) : std::move(otherwise);
}
inline std::uint64_t number_in(json const& j, char const* name) {
    json const& value = member(j, name);
    if (value.is_number_unsigned()) return value.get<std::uint64_t>();
    throw bad_message{std::string{"its \""} + name + "\" is not a number from 0 upwards"};
}
inline std::uint64_t number_in(json const& j, char const* name, std::uint64_t otherwise) {
    return j.contains(name) ? number_in(j, name) : otherwise;
}

} // namespace detail

// --- The device tells its version ----------------------------------------------------------------

struct version_report {
    std::string version;
    std::string module = "default";
};

inline std::string write(version_report const& r, std::string const& id) {
    return json{{"id", id}, {"params", {{"version", r.version}, {"module", r.module}}}}.dump();
}
inline version_report read_version_report(std::string_view text) {
    json const j = detail::parse_object(text);
    json const& params = detail::object_in(j, "params");
    return {detail::text_in(params, "version"), detail::text_in(params, "module", "default")};
}

// --- The platform tells of an upgrade ------------------------------------------------------------

struct upgrade_file {
    std::string name;
    std::string url; // empty where it comes over MQTT
    std::uint64_t size = 0;
    std::string sign; // hexadecimal digits of the digest, by the task's method
    std::uint64_t stream_file = 0;
};

struct upgrade_task {
    std::string version;
    std::string module = "default";
    /// As the platform writes it: "SHA256" or "Md5".
    std::string sign_method = "SHA256";
    /// One, or several: a multi-file task.
    std::vector<upgrade_file> files;
    /// The files come block by block over MQTT, of this stream, and not over HTTPS.
    std::optional<std::uint64_t> stream;
    /// The operator's own: whatever it is.
    json ext = json::object();
};

inline json to_json(upgrade_task const& t) {
    json data{{"version", t.version},
              {"isDiff", 0},
              {"signMethod", t.sign_method},
              {"module", t.module},
              {"extData", t.ext}};
    if (t.stream) {
        data["dProtocol"] = "mqtt";
        data["streamId"] = *t.stream;
    }
    if (t.files.size() == 1) {
        auto const& f = t.files.front();
        data["size"] = f.size;
        data["sign"] = f.sign;
        if (t.sign_method == "Md5") data["md5"] = f.sign;
        if (t.stream) {
            data["streamFileId"] = f.stream_file;
        } else {
            data["url"] = f.url;
        }
        return data;
    }
    for (auto const& f : t.files) {
        json file{{"fileName", f.name}, {"fileSize", f.size}, {"fileSign", f.sign}};
        if (t.sign_method == "Md5") file["fileMd5"] = f.sign;
        if (t.stream) {
            file["streamFileId"] = f.stream_file;
        } else {
            file["fileUrl"] = f.url;
        }
        data["files"].push_back(std::move(file));
    }
    return data;
}

/// Both for the push and for the reply to a device that has asked again.
inline std::string write(upgrade_task const& t, std::string const& id) {
    return json{{"code", "1000"}, {"data", to_json(t)}, {"id", id}, {"message", "success"}}.dump();
}
/// To a device that has asked, where there is nothing for it.
inline std::string write_no_upgrade(std::string const& id) {
    return json{{"code", 200}, {"data", json::object()}, {"id", id}}.dump();
}

/// None where the platform has nothing for the device.
inline std::optional<upgrade_task> read_upgrade(std::string_view text) {
    json const j = detail::parse_object(text);
    std::string const code = detail::text_in(j, "code");
    if (code != "1000" && code != "200") throw bad_message{"its code is not one for success"};
    json const& data = detail::object_in(j, "data");
    if (data.empty()) return std::nullopt;

    upgrade_task t;
    t.version = detail::text_in(data, "version");
    t.module = detail::text_in(data, "module", "default");
    t.sign_method = detail::text_in(data, "signMethod", "Md5");
    if (data.contains("isDiff") && detail::number_in(data, "isDiff") != 0)
        throw bad_message{"it is for a difference between two versions, not for an image"};
    if (data.contains("extData")) t.ext = data["extData"];
    if (detail::text_in(data, "dProtocol", "https") == "mqtt")
        t.stream = detail::number_in(data, "streamId");

    // A digest may stand under the name of its method alone.
    auto const read_file = [&](json const& from, upgrade_file f, char const* url, char const* sign,
                               char const* md5) {
        if (t.stream) {
            f.stream_file = detail::number_in(from, "streamFileId");
        } else {
            f.url = detail::text_in(from, url);
        }
        f.sign = from.contains(sign) ? detail::text_in(from, sign) : detail::text_in(from, md5);
        t.files.push_back(std::move(f));
    };
    if (!data.contains("files")) {
        upgrade_file f;
        f.size = detail::number_in(data, "size");
        read_file(data, std::move(f), "url", "sign", "md5");
        return t;
    }
    json const& files = data["files"];
    if (!files.is_array() || files.empty()) throw bad_message{"its \"files\" is no list of files"};
    for (json const& from : files) {
        if (!from.is_object()) throw bad_message{"its \"files\" has something else than files"};
        upgrade_file f;
        f.name = detail::text_in(from, "fileName");
        f.size = detail::number_in(from, "fileSize");
        read_file(from, std::move(f), "fileUrl", "fileSign", "fileMd5");
    }
    return t;
}

// --- The device tells how far it is --------------------------------------------------------------

/// What a negative step stands for.
enum class failed_step { upgrade = -1, download = -2, verification = -3, install = -4 };

struct progress_report {
    int step = 0; // per cent, or a failed_step
    std::string text;
    std::string module = "default";
};

inline std::string write(progress_report const& p, std::string const& id) {
    json const params{{"step", std::to_string(p.step)}, {"desc", p.text}, {"module", p.module}};
    // What a server said may be in the text, and need not be UTF-8.
    return json{{"id", id}, {"params", params}}.dump(-1, ' ', false,
                                                     json::error_handler_t::replace);
}
inline progress_report read_progress(std::string_view text) {
    json const j = detail::parse_object(text);
    json const& params = detail::object_in(j, "params");
    progress_report p;
    std::string const step = detail::text_in(params, "step");
    bool known = false;
    for (int n = -4; n <= 100; ++n) {
        if (step != std::to_string(n)) continue;
        p.step = n;
        known = true;
    }
    if (!known) throw bad_message{"its step is none from -4 to 100"};
    p.text = detail::text_in(params, "desc", "");
    p.module = detail::text_in(params, "module", "default");
    return p;
}

// --- The device asks again -----------------------------------------------------------------------

struct firmware_ask {
    std::string id;
    std::string module = "default";
};

inline std::string write(firmware_ask const& a) {
    return json{{"id", a.id},
                {"version", "1.0"},
                {"params", {{"module", a.module}}},
                {"method", "thing.ota.firmware.get"}}
        .dump();
}
inline firmware_ask read_firmware_ask(std::string_view text) {
    json const j = detail::parse_object(text);
    return {detail::text_in(j, "id"),
            detail::text_in(detail::object_in(j, "params"), "module", "default")};
}

// --- Blocks of a file over MQTT ------------------------------------------------------------------

/// What the platform gives at a time: at least, but for a file's end, and at most.
inline constexpr std::uint64_t least_block = 256;
inline constexpr std::uint64_t most_block = 131072;

struct block_ask {
    std::string id;
    std::uint64_t stream = 0;
    std::uint64_t file = 0;
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
};

inline std::string write(block_ask const& a) {
    return json{{"id", a.id},
                {"version", "1.0"},
                {"params",
                 {{"fileInfo", {{"streamId", a.stream}, {"fileId", a.file}}},
                  {"fileBlock", {{"size", a.size}, {"offset", a.offset}}}}}}
        .dump();
}
inline block_ask read_block_ask(std::string_view text) {
    json const j = detail::parse_object(text);
    json const& params = detail::object_in(j, "params");
    json const& file = detail::object_in(params, "fileInfo");
    json const& block = detail::object_in(params, "fileBlock");
    return {.id = detail::text_in(j, "id"),
            .stream = detail::number_in(file, "streamId"),
            .file = detail::number_in(file, "fileId"),
            .offset = detail::number_in(block, "offset"),
            .size = detail::number_in(block, "size")};
}

/// One reply: two bytes, high one first, of how long the JSON is; the JSON; the block; two bytes,
/// low one first, of its CRC-16/IBM.
struct block_reply {
    std::string id;
    int code = 200;
    std::string message;
    std::uint64_t file_size = 0;
    std::uint64_t offset = 0;
    /// Lies in the payload that was read.
    std::span<std::byte const> bytes;
    /// The checksum is not that of the bytes.
    bool damaged = false;
};

inline std::string write(block_reply const& r) {
    json j{{"id", r.id}, {"code", r.code}};
    if (r.code == 200) {
        j["data"] = {{"fileLength", r.file_size}, {"bSize", r.bytes.size()}, {"bOffset", r.offset}};
    } else {
        j["message"] = r.message;
    }
    std::string const head = j.dump();
    auto const byte = [](std::size_t n) { return static_cast<char>(n & 0xffU); };
    std::string text{byte(head.size() >> 8U), byte(head.size())};
    text += head;
    if (r.code != 200) return text;
    text.append(reinterpret_cast<char const*>(r.bytes.data()), r.bytes.size());
    std::uint16_t const crc = crc16(r.bytes);
    text += byte(crc);
    text += byte(crc >> 8U);
    return text;
}

/// `payload` must outlive the answer.
inline block_reply read_block_reply(std::string_view payload) {
    auto const number_at = [&](std::size_t high, std::size_t low) {
        auto const byte = [&](std::size_t at) {
            return unsigned{static_cast<unsigned char>(payload[at])};
        };
        return byte(high) << 8U | byte(low);
    };
    if (payload.size() < 2) throw bad_message{"it is too short for the length of its JSON"};
    std::size_t const head_size = number_at(0, 1);
    if (payload.size() - 2 < head_size) throw bad_message{"it is shorter than its JSON"};
    json const j = detail::parse_object(payload.substr(2, head_size));

    block_reply r;
    r.id = detail::text_in(j, "id", "");
    r.message = detail::text_in(j, "message", "");
    json const& code = detail::member(j, "code");
    if (!code.is_number_integer()) throw bad_message{"its code is not a number"};
    r.code = code.get<int>();
    if (r.code != 200) return r;
    json const& data = detail::object_in(j, "data");
    r.file_size = detail::number_in(data, "fileLength");
    r.offset = detail::number_in(data, "bOffset");
    std::uint64_t const size = detail::number_in(data, "bSize");
    payload.remove_prefix(2 + head_size);
    if (payload.size() < 2 || payload.size() - 2 != size)
        throw bad_message{"it has more or fewer bytes than it says"};
    r.bytes = std::as_bytes(std::span{payload.data(), payload.size() - 2});
    r.damaged = crc16(r.bytes) != number_at(payload.size() - 1, payload.size() - 2);
    return r;
}

} // namespace example
