# SPDX-License-Identifier: BSL-1.0
#
# What `find_package(cleave)` reads once the library is installed.

include(CMakeFindDependencyMacro)
find_dependency(Threads)
find_dependency(OpenSSL)
include(${CMAKE_CURRENT_LIST_DIR}/cleave-asio.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/cleave-targets.cmake)
