// SPDX-License-Identifier: BSL-1.0
#include <support/catch.hpp>

#include <cleave/ota/firmware.hpp>

#include <cstdint>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using cleave::firmware;
using cleave::update_error;

namespace {

std::string const sha(64, 'a');
std::string const md5(32, 'B');

firmware fit() {
    return {"default",
            "2.0",
            {{"http://h/a", 10, "SHA256", sha, "a.bin"}, {"http://h/b", 20, "Md5", md5, ""}},
            "x"};
}

std::error_code why(firmware const& f) {
    auto const fault = find_firmware_fault(f);
    return fault ? fault->why : std::error_code{};
}

} // namespace

TEST_CASE("methods are read as platforms write them") {
    for (std::string const method : {"SHA256", "Sha256", "sha256", "SHA-256", "sha_256"}) {
        CAPTURE(method);
        firmware f = fit();
        f.files[0].method = method;
        CHECK(why(f) == std::error_code{});
    }
    for (std::string const method : {"MD5", "Md5", "md5"}) {
        CAPTURE(method);
        firmware f = fit();
        f.files[1].method = method;
        CHECK(why(f) == std::error_code{});
        f.files[0].method = method;
        CHECK(why(f) == update_error::digest_wrong_length);
    }
}

TEST_CASE("what is unfit is refused by name") {
    CHECK(why(fit()) == std::error_code{});
    CHECK(fit().size() == 30);
    firmware f = fit();
    f.module.clear();
    CHECK(why(f) == update_error::no_module);
    f = fit();
    f.version.clear();
    CHECK(why(f) == update_error::no_version);
    f = fit();
    f.version.assign(64, 'v');
    CHECK(why(f) == std::error_code{});
    f.version += 'v';
    CHECK(why(f) == update_error::name_too_long);
    f = fit();
    f.module.assign(65, 'm');
    CHECK(why(f) == update_error::name_too_long);
    f = fit();
    f.files.clear();
    CHECK(why(f) == update_error::no_file);
    f = fit();
    f.files[1].url = "nowhere";
    CHECK(why(f) == cleave::error::bad_url);
    f = fit();
    f.files[0].url = "ftp://h/a";
    CHECK(why(f) == cleave::error::unsupported_scheme);
    f = fit();
    f.files[1].size = 0;
    CHECK(why(f) == update_error::file_without_size);
    f = fit();
    f.files[0].size = f.files[1].size = std::uint64_t{3} << 61;
    CHECK(why(f) == cleave::error::object_too_large);
    f = fit();
    f.files[0].digest.clear();
    CHECK(why(f) == update_error::digest_missing);
    f = fit();
    f.files[0].method = "CRC32";
    CHECK(why(f) == update_error::digest_method_unknown);
    f.files[0].method.clear();
    CHECK(why(f) == update_error::digest_method_unknown);
    f = fit();
    f.files[0].digest.pop_back();
    CHECK(why(f) == update_error::digest_wrong_length);
    f = fit();
    f.files[0].digest[63] = 'g';
    CHECK(why(f) == update_error::digest_not_hexadecimal);
}

TEST_CASE("a fault names its file") {
    firmware f = fit();
    f.files[1].size = 0;
    auto fault = find_firmware_fault(f);
    REQUIRE(fault);
    CHECK(fault->file == 1);
    CHECK(fault->message(f) ==
          "file 2: a file of the firmware has no size; give its size in bytes, "
          "which is not 0");
    f.files[0].size = 0;
    fault = find_firmware_fault(f);
    REQUIRE(fault);
    CHECK(fault->message(f).starts_with("file 1 (a.bin): "));
    f.files.clear();
    fault = find_firmware_fault(f);
    REQUIRE(fault);
    CHECK_FALSE(fault->file);
    CHECK(fault->message(f) == fault->why.message());
}

TEST_CASE("a firmware of one file is made, or refused") {
    std::error_code ec;
    firmware const f = cleave::make_firmware("m", "2.0", fit().files[0], ec);
    CHECK(ec == std::error_code{});
    CHECK(f.module == "m");
    CHECK(f.files.size() == 1);
    (void)cleave::make_firmware("m", "", fit().files[0], ec);
    CHECK(ec == update_error::no_version);
}

TEST_CASE("a fingerprint tells firmware apart, but not by its links") {
    auto const same = fingerprint(fit());
    CHECK(same != 0);
    firmware f = fit();
    f.files[0].url = "https://elsewhere/signed?token=1";
    f.files[0].method = "sha-256";
    f.files[0].digest.assign(64, 'A');
    f.files[0].name = "b.bin";
    f.extra.clear();
    CHECK(fingerprint(f) == same);

    std::vector<firmware> others(6, fit());
    others[0].module = "other";
    others[1].version = "2.1";
    others[2].files[0].size = 11;
    others[3].files[0].digest[0] = 'b';
    others[4].files.pop_back();
    std::swap(others[5].files[0], others[5].files[1]);
    for (firmware const& other : others) CHECK(fingerprint(other) != same);
    // What ends one text and what begins the next are not mixed up.
    firmware a = fit();
    firmware b = fit();
    a.module = "ab";
    a.version = "c";
    b.module = "a";
    b.version = "bc";
    CHECK(fingerprint(a) != fingerprint(b));
}
