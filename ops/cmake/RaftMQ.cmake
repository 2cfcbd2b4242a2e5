# Build rules shared by all modules: flags, dependencies, and three functions.
#
#   raftmq_library(NAME SOURCES... [DEPS targets...] [PROTOS files...])   static library
#   raftmq_program(NAME SOURCES... [DEPS targets...])                     program in build/<preset>/bin
#   raftmq_unit_test(NAME SOURCES... [DEPS targets...])                   cmocka test, labelled "unit"

option(RAFTMQ_TESTS "Build the tests" ON)
set(RAFTMQ_SANITIZE "" CACHE STRING "Sanitizers to build with, as for -fsanitize=")

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON) # container_of and the system's own headers
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

add_compile_definitions(_GNU_SOURCE RAFTMQ_VERSION="${PROJECT_VERSION}")
add_compile_options(
    -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Wvla
    -Wno-missing-field-initializers -Werror -fno-omit-frame-pointer -fno-strict-aliasing)
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
if(RAFTMQ_SANITIZE)
    add_compile_options(-fsanitize=${RAFTMQ_SANITIZE} -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${RAFTMQ_SANITIZE})
endif()

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(RAFT REQUIRED IMPORTED_TARGET raft>=0.22.1)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
if(RAFTMQ_TESTS)
    pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
endif()
find_program(PROTOC_C protoc-c REQUIRED)

function(raftmq_library name)
    cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;PROTOS" ${ARGN})
    add_library(${name} STATIC ${ARG_SOURCES})
    # Includes are written from the top of the tree ("remoting/base/err.h", "raft-log/log/meta.h").
    target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
    foreach(proto ${ARG_PROTOS})
        get_filename_component(stem ${proto} NAME_WE)
        get_filename_component(folder ${proto} DIRECTORY)
        set(out ${CMAKE_CURRENT_BINARY_DIR}/${folder})
        file(MAKE_DIRECTORY ${out})
        add_custom_command(
            OUTPUT ${out}/${stem}.pb-c.c ${out}/${stem}.pb-c.h
            COMMAND ${PROTOC_C} --c_out=${out} --proto_path=${CMAKE_CURRENT_SOURCE_DIR}/${folder} ${stem}.proto
            DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${proto}
            COMMENT "protoc-c ${proto}")
        set_source_files_properties(${out}/${stem}.pb-c.c PROPERTIES COMPILE_OPTIONS "-Wno-shadow")
        target_sources(${name} PRIVATE ${out}/${stem}.pb-c.c ${out}/${stem}.pb-c.h)
        # Generated headers keep the path of their .proto: "raft-log/peer/peer.pb-c.h".
        target_include_directories(${name} PUBLIC ${CMAKE_BINARY_DIR})
        target_link_libraries(${name} PUBLIC PkgConfig::PROTOBUF_C)
    endforeach()
    target_link_libraries(${name} PUBLIC ${ARG_DEPS})
endfunction()

function(raftmq_program name)
    cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} PRIVATE ${ARG_DEPS})
endfunction()

function(raftmq_unit_test name)
    cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
    add_executable(${name} ${ARG_SOURCES})
    target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
    target_link_libraries(${name} PRIVATE ${ARG_DEPS} PkgConfig::CMOCKA)
    set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/unit)
    add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES LABELS unit TIMEOUT 120)
    if(RAFTMQ_SANITIZE MATCHES thread)
        # Some tests start hundreds of processes, each of which would wait a second at its end.
        set_tests_properties(${name} PROPERTIES TIMEOUT 600 ENVIRONMENT TSAN_OPTIONS=atexit_sleep_ms=0)
    endif()
endfunction()
