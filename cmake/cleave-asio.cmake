# SPDX-License-Identifier: BSL-1.0
#
# Makes the target `cleave::asio` from an Asio target the caller already has, or from Asio's package
# where somebody made one, or else from the headers on this machine. Without Asio there is no such
# target. Shared by the build and by the installed package.

if(NOT TARGET cleave::asio)
    if(NOT TARGET asio::asio AND NOT TARGET asio)
        find_package(asio CONFIG QUIET)
    endif()
    if(TARGET asio::asio)
        add_library(cleave::asio INTERFACE IMPORTED GLOBAL)
        target_link_libraries(cleave::asio INTERFACE asio::asio)
    elseif(TARGET asio)
        add_library(cleave::asio INTERFACE IMPORTED GLOBAL)
        target_link_libraries(cleave::asio INTERFACE asio)
    else()
        find_path(CLEAVE_ASIO_INCLUDE_DIR asio.hpp)
        mark_as_advanced(CLEAVE_ASIO_INCLUDE_DIR)
        if(CLEAVE_ASIO_INCLUDE_DIR)
            add_library(cleave::asio INTERFACE IMPORTED GLOBAL)
            target_include_directories(cleave::asio INTERFACE ${CLEAVE_ASIO_INCLUDE_DIR})
        endif()
    endif()
endif()
