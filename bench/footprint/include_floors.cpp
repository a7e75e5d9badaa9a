// SPDX-License-Identifier: BSL-1.0
//
// What a file pays that includes what decides and does no I/O: planners, messages, the engine.

#include <cleave/http/admit.hpp>
#include <cleave/http/body.hpp>
#include <cleave/http/content_range.hpp>
#include <cleave/http/date.hpp>
#include <cleave/http/redirect.hpp>
#include <cleave/http/repr_digest.hpp>
#include <cleave/http/request_head.hpp>
#include <cleave/http/response_head.hpp>
#include <cleave/http/validator.hpp>

#include <cleave/plan/even_split.hpp>
#include <cleave/plan/fixed_size.hpp>
#include <cleave/plan/guided.hpp>
#include <cleave/plan/listed_segments.hpp>
#include <cleave/plan/plan.hpp>

#include <cleave/engine/engine.hpp>
