#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
#
# Makes the reference of what the headers say, in build/reference/html/, with Doxygen:
#
#     sh docs/reference.sh
#
# Fails at any warning, and where a concept, a class, a function or a type that users may name has
# no comment. Members of classes may do without: a model's are told by its concept.

set -eu
cd "$(dirname "$0")/.."

. .ci/packages.sh
need_packages doxygen

CLEAVE_VERSION=$(sed -n 's/.*version_string = "\(.*\)";/\1/p' include/cleave/base/version.hpp)
export CLEAVE_VERSION
mkdir -p build/reference

doxygen docs/Doxyfile

# What Doxygen warns of apart from the members; of a deduction guide there is nothing to say.
bare=$({ cat docs/Doxyfile; echo 'WARN_IF_UNDOCUMENTED = YES
    WARN_AS_ERROR = NO
    OUTPUT_DIRECTORY = build/reference/names'; } | doxygen - 2>&1 |
    grep -v -e ' of \(class\|struct\|union\) .* is not documented' -e ') -> .* is not documented' || true)
if [ -n "$bare" ]; then
    echo "$bare"
    exit 1
fi
echo "build/reference/html/index.html"
