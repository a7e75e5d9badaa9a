// SPDX-License-Identifier: BSL-1.0
//
// The floors that decide, without those that act: planning, HTTP, the policies that need no system,
// and the engine. No I/O, no Asio, no OpenSSL, no exceptions, no run-time types: for a driver of
// one's own (examples/blocking.cpp), or to plan segments.
#pragma once

#if __cplusplus < 202002L
#error "cleave needs C++20: tell the compiler -std=c++20"
#endif

#include <cleave/base/ascii.hpp>
#include <cleave/base/crc32c.hpp>
#include <cleave/base/error.hpp>
#include <cleave/base/exception.hpp>
#include <cleave/base/failure.hpp>
#include <cleave/base/identity.hpp>
#include <cleave/base/lease.hpp>
#include <cleave/base/request.hpp>
#include <cleave/base/segment.hpp>
#include <cleave/base/segment_set.hpp>
#include <cleave/base/units.hpp>
#include <cleave/base/url.hpp>
#include <cleave/base/version.hpp>

#include <cleave/http/admit.hpp>
#include <cleave/http/body.hpp>
#include <cleave/http/content_range.hpp>
#include <cleave/http/date.hpp>
#include <cleave/http/redirect.hpp>
#include <cleave/http/repr_digest.hpp>
#include <cleave/http/request_head.hpp>
#include <cleave/http/response_head.hpp>
#include <cleave/http/retry_after.hpp>
#include <cleave/http/text.hpp>
#include <cleave/http/validator.hpp>

#include <cleave/plan/concept.hpp>
#include <cleave/plan/even_split.hpp>
#include <cleave/plan/fixed_size.hpp>
#include <cleave/plan/guided.hpp>
#include <cleave/plan/listed_segments.hpp>
#include <cleave/plan/plan.hpp>

#include <cleave/lanes/adaptive_lanes.hpp>
#include <cleave/lanes/concept.hpp>
#include <cleave/lanes/fixed_lanes.hpp>

#include <cleave/renew/backoff.hpp>
#include <cleave/renew/concept.hpp>
#include <cleave/renew/give_up.hpp>

#include <cleave/verify/concept.hpp>
#include <cleave/verify/digest.hpp>
#include <cleave/verify/no_verification.hpp>
#include <cleave/verify/piece_digests.hpp>
#include <cleave/verify/piece_list.hpp>
#include <cleave/verify/server_digest.hpp>

#include <cleave/pace/concept.hpp>
#include <cleave/pace/token_bucket.hpp>
#include <cleave/pace/unlimited.hpp>

#include <cleave/observe/concept.hpp>
#include <cleave/observe/counters.hpp>
#include <cleave/observe/log_lines.hpp>
#include <cleave/observe/on_progress.hpp>
#include <cleave/observe/silent.hpp>
#include <cleave/observe/tee_observer.hpp>

#include <cleave/journal/concept.hpp>
#include <cleave/journal/no_journal.hpp>
#include <cleave/journal/record.hpp>
#include <cleave/journal/record_journal.hpp>
#include <cleave/journal/two_slots.hpp>

#include <cleave/engine/action.hpp>
#include <cleave/engine/checked_runs.hpp>
#include <cleave/engine/engine.hpp>
#include <cleave/engine/event.hpp>
#include <cleave/engine/failure_kinds.hpp>
#include <cleave/engine/lane.hpp>
#include <cleave/engine/ledger.hpp>
#include <cleave/engine/mirrors.hpp>
#include <cleave/engine/rates.hpp>
#include <cleave/engine/report.hpp>
#include <cleave/engine/sink_room.hpp>
#include <cleave/engine/stealing.hpp>
