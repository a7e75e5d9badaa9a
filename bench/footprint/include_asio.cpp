// SPDX-License-Identifier: BSL-1.0
//
// Asio without TLS, on which the front door stands.

#include <asio.hpp>
