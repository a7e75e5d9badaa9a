# SPDX-License-Identifier: BSL-1.0
#
# What `find_package(cleave)` reads once the library is installed. Without components there is
# `cleave::cleave`, with whatever of OpenSSL is found. Component `tls` insists on OpenSSL; `core`
# asked for alone gives `cleave::core`, and looks for nothing.

foreach(component IN LISTS cleave_FIND_COMPONENTS)
    if(NOT component MATCHES "^(core|tls)$" AND cleave_FIND_REQUIRED_${component})
        set(cleave_FOUND FALSE)
        set(cleave_NOT_FOUND_MESSAGE "cleave has no component \"${component}\"; it has \"core\", \
planning and the engine without Asio, and \"tls\", everything with OpenSSL.")
        return()
    endif()
endforeach()

include(${CMAKE_CURRENT_LIST_DIR}/cleave-core-targets.cmake)
set(cleave_core_FOUND TRUE)
if("${cleave_FIND_COMPONENTS}" STREQUAL "core")
    return()
endif()

include(CMakeFindDependencyMacro)
find_dependency(Threads)

include(${CMAKE_CURRENT_LIST_DIR}/cleave-asio.cmake)
if(NOT TARGET cleave::asio)
    set(cleave_FOUND FALSE)
    set(cleave_NOT_FOUND_MESSAGE "cleave needs Asio 1.22 or newer (libasio-dev): set \
CLEAVE_ASIO_INCLUDE_DIR to the folder of asio.hpp, or ask for the component \"core\" alone.")
    return()
endif()

find_package(OpenSSL 3.0 QUIET)
set(cleave_tls_FOUND ${OpenSSL_FOUND})
if(NOT OpenSSL_FOUND AND cleave_FIND_REQUIRED_tls)
    set(cleave_FOUND FALSE)
    set(cleave_NOT_FOUND_MESSAGE "cleave's component \"tls\" needs OpenSSL 3.0 or newer \
(libssl-dev); without it <cleave/download.hpp> can be used, by find_package(cleave).")
    return()
endif()

include(${CMAKE_CURRENT_LIST_DIR}/cleave-targets.cmake)
if(OpenSSL_FOUND)
    target_link_libraries(cleave::cleave INTERFACE OpenSSL::SSL OpenSSL::Crypto)
endif()
