// SPDX-License-Identifier: BSL-1.0
//
// The measure: Asio with TLS, on which all of cleave stands.

#include <asio.hpp>
#include <asio/ssl.hpp>
