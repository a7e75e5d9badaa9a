// SPDX-License-Identifier: BSL-1.0
//
// All of cleave but ota/ and testing/: the floors that decide, and then, floor by floor, what acts.
// `download.hpp` alone does where no digest is wanted.
#pragma once

#include <cleave/core.hpp>

#include <cleave/base/standby_memory.hpp>

#include <cleave/os/concept.hpp>
#include <cleave/os/file_calls.hpp>
#include <cleave/os/mapping.hpp>
#include <cleave/os/posix_file.hpp>

#include <cleave/verify/openssl_hasher.hpp>

#include <cleave/connect/concept.hpp>
#include <cleave/connect/pool.hpp>
#include <cleave/connect/proxy.hpp>
#include <cleave/connect/race.hpp>
#include <cleave/connect/route.hpp>
#include <cleave/connect/socks5.hpp>
#include <cleave/connect/tcp.hpp>
#include <cleave/connect/tls.hpp>

#include <cleave/sink/concept.hpp>
#include <cleave/sink/coroutine_consumer.hpp>
#include <cleave/sink/file_sink.hpp>
#include <cleave/sink/mapped_file_sink.hpp>
#include <cleave/sink/memory_sink.hpp>
#include <cleave/sink/null_sink.hpp>
#include <cleave/sink/ordered_sink.hpp>
#include <cleave/sink/partial_file.hpp>
#include <cleave/sink/tee_sink.hpp>

#include <cleave/journal/file_journal.hpp>

#include <cleave/source/blocking_source.hpp>
#include <cleave/source/callback_source.hpp>
#include <cleave/source/concept.hpp>
#include <cleave/source/no_source.hpp>

#include <cleave/driver/background.hpp>
#include <cleave/driver/download_op.hpp>
#include <cleave/driver/grant_filler.hpp>
#include <cleave/driver/job_runner.hpp>
#include <cleave/driver/sink_failure.hpp>

#include <cleave/download.hpp>
