# SPDX-License-Identifier: BSL-1.0
#
# Runs the port as vcpkg would, with stand-ins for those of its functions that the port calls: what
# they are told is checked, and what they are to bring about is done in the plainest way.
#
#     cmake -DSOURCE=<cleave> -DWORK=<folder> -DFEATURES=<features> -P vcpkg.cmake
#
# Leaves the package in <folder>/cleave.

cmake_minimum_required(VERSION 3.23)
set(PORT cleave)
set(port_dir ${SOURCE}/packaging/vcpkg/ports/${PORT})
set(CURRENT_PACKAGES_DIR ${WORK}/${PORT})
set(build_dir ${WORK}/${PORT}-build)

function(expect what is right)
    if(NOT is STREQUAL right)
        message(FATAL_ERROR "${what} is \"${is}\", and should be \"${right}\"")
    endif()
endfunction()

file(READ ${port_dir}/vcpkg.json manifest)
foreach(member IN ITEMS name version description homepage license)
    string(JSON ${member} GET "${manifest}" ${member}) # an error where there is none
endforeach()
file(STRINGS ${SOURCE}/include/cleave/base/version.hpp line REGEX "version_string = \"")
string(REGEX REPLACE ".*\"([0-9.]+)\".*" "\\1" VERSION "${line}")
expect("the port's version" "${version}" "${VERSION}")
expect("the port's name" "${name}" "${PORT}")
foreach(feature IN LISTS FEATURES)
    string(JSON ignored GET "${manifest}" features ${feature} description)
endforeach()

function(vcpkg_from_github)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "OUT_SOURCE_PATH;REPO;REF;SHA512;HEAD_REF" "")
    expect("what is left of the arguments" "${arg_UNPARSED_ARGUMENTS}" "")
    expect("the homepage" "${homepage}" "https://github.com/${arg_REPO}")
    expect("the tag" "${arg_REF}" "v${VERSION}")
    set(${arg_OUT_SOURCE_PATH} ${SOURCE} PARENT_SCOPE)
endfunction()

function(vcpkg_check_features)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "OUT_FEATURE_OPTIONS" "INVERTED_FEATURES")
    set(options)
    while(arg_INVERTED_FEATURES)
        list(POP_FRONT arg_INVERTED_FEATURES feature variable)
        string(JSON ignored GET "${manifest}" features ${feature} description)
        if(feature IN_LIST FEATURES)
            list(APPEND options -D${variable}=OFF)
        else()
            list(APPEND options -D${variable}=ON)
        endif()
    endwhile()
    set(${arg_OUT_FEATURE_OPTIONS} ${options} PARENT_SCOPE)
endfunction()

function(run)
    execute_process(COMMAND ${ARGN} OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
endfunction()
function(vcpkg_cmake_configure)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "SOURCE_PATH" "OPTIONS")
    run(${CMAKE_COMMAND} -S ${arg_SOURCE_PATH} -B ${build_dir} ${arg_OPTIONS}
        --install-prefix ${CURRENT_PACKAGES_DIR})
endfunction()
function(vcpkg_cmake_install)
    run(${CMAKE_COMMAND} --install ${build_dir})
endfunction()

# Moves the configuration to where vcpkg looks, which is one folder less deep.
function(vcpkg_cmake_config_fixup)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "CONFIG_PATH" "")
    file(GLOB files ${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH}/*.cmake)
    foreach(file IN LISTS files)
        cmake_path(GET file FILENAME name)
        file(READ ${file} text)
        string(REPLACE
            "LIST_FILE}\" PATH)\nget_filename_component(_IMPORT_PREFIX \"\${_IMPORT_PREFIX}\" PATH)\n"
            "LIST_FILE}\" PATH)\n" text "${text}")
        file(WRITE ${CURRENT_PACKAGES_DIR}/share/${PORT}/${name} "${text}")
    endforeach()
    file(REMOVE_RECURSE ${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH})
endfunction()
function(vcpkg_fixup_pkgconfig)
endfunction()
function(vcpkg_install_copyright)
    cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "FILE_LIST")
    file(COPY_FILE ${arg_FILE_LIST} ${CURRENT_PACKAGES_DIR}/share/${PORT}/copyright)
endfunction()

set(CMAKE_CURRENT_LIST_DIR ${port_dir})
include(${port_dir}/portfile.cmake)

# vcpkg lets no package pass that has anything else.
file(GLOB found RELATIVE ${CURRENT_PACKAGES_DIR} ${CURRENT_PACKAGES_DIR}/*
    ${CURRENT_PACKAGES_DIR}/share/*)
expect("what the package has" "${found}" "include;share;share/cleave;share/pkgconfig")
foreach(file IN ITEMS cleave-config.cmake cleave-config-version.cmake copyright usage)
    if(NOT EXISTS ${CURRENT_PACKAGES_DIR}/share/${PORT}/${file})
        message(FATAL_ERROR "the package lacks ${file}")
    endif()
endforeach()
