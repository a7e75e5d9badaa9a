// SPDX-License-Identifier: BSL-1.0
//
// A peer: Beast's HTTP, which brings Boost's Asio along.

#include <boost/beast/http.hpp>
