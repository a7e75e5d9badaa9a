#!/bin/bash -eu
# SPDX-License-Identifier: BSL-1.0
ASIO_INCLUDE=$SRC/asio/asio/include sh "$SRC/cleave/fuzz/build.sh"
