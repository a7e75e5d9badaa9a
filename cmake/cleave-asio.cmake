# SPDX-License-Identifier: BSL-1.0
#
# Makes the target `cleave::asio` from an Asio target the caller already has, or else from the
# headers on this machine. Shared by the build and by the installed package.

if(NOT TARGET cleave::asio)
    add_library(cleave::asio INTERFACE IMPORTED GLOBAL)
    if(TARGET asio::asio)
        target_link_libraries(cleave::asio INTERFACE asio::asio)
    elseif(TARGET asio)
        target_link_libraries(cleave::asio INTERFACE asio)
    else()
        find_path(CLEAVE_ASIO_INCLUDE_DIR asio.hpp REQUIRED)
        mark_as_advanced(CLEAVE_ASIO_INCLUDE_DIR)
        target_include_directories(cleave::asio INTERFACE ${CLEAVE_ASIO_INCLUDE_DIR})
    endif()
endif()
