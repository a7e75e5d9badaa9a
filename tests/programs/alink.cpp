// SPDX-License-Identifier: BSL-1.0
//
// What device and platform say to each other, as bytes: what is written can be read, the forms that
// platforms use are taken, and whatever else comes is refused without harm.

#include <ota/alink.hpp>

#include <support/catch.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace example;

namespace {

std::span<std::byte const> bytes_of(std::string_view text) {
    return std::as_bytes(std::span{text});
}

} // namespace

TEST_CASE("CRC-16/IBM of known texts, at once and in parts") {
    CHECK(crc16(bytes_of("")) == 0);
    CHECK(crc16(bytes_of("123456789")) == 0xbb3d);
    CHECK(crc16(bytes_of("A")) == 0x30c0);
    CHECK(crc16(bytes_of("6789"), crc16(bytes_of("12345"))) == 0xbb3d);
}

TEST_CASE("topics are those of one device") {
    topics const t{{.product = "a1", .name = "lamp"}};
    CHECK(t.inform() == "/ota/device/inform/a1/lamp");
    CHECK(t.upgrade() == "/ota/device/upgrade/a1/lamp");
    CHECK(t.progress() == "/ota/device/progress/a1/lamp");
    CHECK(t.firmware_get() == "/sys/a1/lamp/thing/ota/firmware/get");
    CHECK(t.firmware_get_reply() == "/sys/a1/lamp/thing/ota/firmware/get_reply");
    CHECK(t.file_download() == "/sys/a1/lamp/thing/file/download");
    CHECK(t.file_download_reply() == "/sys/a1/lamp/thing/file/download_reply");
}

TEST_CASE("a task of one file is read as a platform writes it") {
    auto const t = read_upgrade(
        R"({"code":"1000","data":{"size":432945,"sign":"93230c","version":"2.0.0","isDiff":0,)"
        R"("url":"https://example.org/x?Expires=1","signMethod":"Md5","md5":"93230c",)"
        R"("module":"MCU","extData":{"key1":"value1"}},"id":1507707025,"message":"success"})");
    REQUIRE(t);
    CHECK(t->version == "2.0.0");
    CHECK(t->module == "MCU");
    CHECK(t->sign_method == "Md5");
    CHECK_FALSE(t->stream);
    REQUIRE(t->files.size() == 1);
    CHECK(t->files[0].size == 432945);
    CHECK(t->files[0].url == "https://example.org/x?Expires=1");
    CHECK(t->files[0].sign == "93230c");
    CHECK(t->ext["key1"] == "value1");
}

TEST_CASE("a task of several files, and one over MQTT, come back as they were written") {
    upgrade_task t{
        .version = "2.0", .module = "m", .sign_method = "SHA256", .files = {}, .stream = {}};
    t.files.push_back(
        {.name = "a", .url = "https://a/", .size = 1, .sign = "aa", .stream_file = 1});
    t.files.push_back(
        {.name = "b", .url = "https://b/", .size = 2, .sign = "bb", .stream_file = 2});
    bool const over_mqtt = GENERATE(false, true);
    bool const one = GENERATE(false, true);
    if (over_mqtt) t.stream = 1397345;
    if (one) t.files.pop_back();
    auto const back = read_upgrade(write(t, "7"));
    REQUIRE(back);
    CHECK(back->stream == t.stream);
    REQUIRE(back->files.size() == t.files.size());
    for (std::size_t i = 0; i != t.files.size(); ++i) {
        CHECK(back->files[i].name == (one ? "" : t.files[i].name));
        CHECK(back->files[i].url == (over_mqtt ? "" : t.files[i].url));
        CHECK(back->files[i].size == t.files[i].size);
        CHECK(back->files[i].sign == t.files[i].sign);
        CHECK(back->files[i].stream_file == (over_mqtt ? t.files[i].stream_file : 0));
    }
}

TEST_CASE("no task is not an error") {
    CHECK_FALSE(read_upgrade(write_no_upgrade("1")));
    CHECK_FALSE(read_upgrade(R"({"code":"1000","data":{}})"));
}

TEST_CASE("reports and asks come back as they were written") {
    auto const v = read_version_report(write(version_report{"1.0", "m"}, "1"));
    CHECK(v.version == "1.0");
    CHECK(v.module == "m");
    for (int step : {-4, -1, 0, 1, 99, 100}) {
        auto const p = read_progress(write(progress_report{step, "text", "m"}, "1"));
        CHECK(p.step == step);
        CHECK(p.text == "text");
    }
    auto const f = read_firmware_ask(write(firmware_ask{"12", "m"}));
    CHECK(f.id == "12");
    CHECK(f.module == "m");
    auto const b = read_block_ask(
        write(block_ask{.id = "3", .stream = 4, .file = 5, .offset = 1ULL << 33U, .size = 256}));
    CHECK(b.id == "3");
    CHECK(b.stream == 4);
    CHECK(b.file == 5);
    CHECK(b.offset == 1ULL << 33U);
    CHECK(b.size == 256);
}

TEST_CASE("what a server has said need not be UTF-8 to be passed on") {
    CHECK_NOTHROW(read_progress(write(progress_report{-2, "404 \xff\xfe", "m"}, "1")));
}

TEST_CASE("what is not as agreed is refused") {
    auto const task = GENERATE(
        as<std::string>{}, "", "{", "[]", "12", "{}", R"({"code":"1000"})",
        R"({"code":"1001","data":{"version":"1"}})", R"({"code":"1000","data":[]})",
        R"({"code":"1000","data":{"version":"2"}})",
        R"({"code":"1000","data":{"version":{},"size":1,"sign":"a","url":"u"}})",
        R"({"code":"1000","data":{"version":"2","size":-1,"sign":"a","url":"u"}})",
        R"({"code":"1000","data":{"version":"2","size":1.5,"sign":"a","url":"u"}})",
        R"({"code":"1000","data":{"version":"2","size":"1","sign":"a","url":"u"}})",
        R"({"code":"1000","data":{"version":"2","size":1,"url":"u"}})",
        R"({"code":"1000","data":{"version":"2","size":1,"sign":"a"}})",
        R"({"code":"1000","data":{"version":"2","files":[]}})",
        R"({"code":"1000","data":{"version":"2","files":[1]}})",
        R"({"code":"1000","data":{"version":"2","isDiff":1,"size":1,"sign":"a","url":"u"}})",
        R"({"code":"1000","data":{"version":"2","dProtocol":"mqtt","size":1,"sign":"a"}})",
        "{\"code\":\"1000\",\"data\":{\"version\":\"\xff\"}}");
    CAPTURE(task);
    CHECK_THROWS_AS(read_upgrade(task), bad_message);
    CHECK_THROWS_AS(read_version_report("{}"), bad_message);
    CHECK_THROWS_AS(read_progress(R"({"params":{"step":"101"}})"), bad_message);
    CHECK_THROWS_AS(read_progress(R"({"params":{"step":"-5"}})"), bad_message);
    CHECK_THROWS_AS(read_progress(R"({"params":{"step":"1x"}})"), bad_message);
    CHECK_THROWS_AS(read_block_ask(R"({"id":"1","params":{"fileInfo":{}}})"), bad_message);
}

TEST_CASE("a block is its JSON's length, the JSON, the bytes, and their checksum") {
    block_reply r;
    r.id = "1";
    r.file_size = 9;
    r.bytes = bytes_of("123456789");
    std::string const payload = write(r);
    std::size_t const head = payload.size() - 2 - 9 - 2;
    CHECK(payload[0] == static_cast<char>(head >> 8U));
    CHECK(payload[1] == static_cast<char>(head));
    CHECK(payload.substr(2 + head) == "123456789\x3d\xbb");

    auto const back = read_block_reply(payload);
    CHECK(back.id == "1");
    CHECK(back.code == 200);
    CHECK(back.file_size == 9);
    CHECK(back.offset == 0);
    CHECK_FALSE(back.damaged);
    CHECK(back.bytes.size() == 9);
    CHECK(back.bytes.front() == std::byte{'1'});

    SECTION("one bit is wrong, in the block or in its checksum") {
        for (std::size_t at = 2 + head; at != payload.size(); ++at) {
            auto wrong = payload;
            wrong[at] = static_cast<char>(wrong[at] ^ 0x10);
            CHECK(read_block_reply(wrong).damaged);
        }
    }
    SECTION("cut anywhere it is refused") {
        for (std::size_t n = 0; n != payload.size(); ++n)
            CHECK_THROWS_AS(read_block_reply(std::string_view{payload}.substr(0, n)), bad_message);
        CHECK_THROWS_AS(read_block_reply(payload + "x"), bad_message);
    }
    SECTION("a no has no block") {
        block_reply no;
        no.id = "2";
        no.code = 404;
        no.message = "there is no such file";
        auto const said = read_block_reply(write(no));
        CHECK(said.code == 404);
        CHECK(said.message == "there is no such file");
        CHECK(said.bytes.empty());
    }
}
