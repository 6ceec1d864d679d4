# Build settings and the functions that declare modules, tests, benchmarks and fuzz targets.
include_guard()
include(StaticLibraries)

option(TIDEWRIGHT_TESTS "Build the tests" ON)
option(TIDEWRIGHT_BENCHMARKS "Build the Google Benchmark programs under tests/bench" OFF)
option(TIDEWRIGHT_FUZZERS "Build the fuzz targets under tests/fuzz (needs Clang)" OFF)
set(TIDEWRIGHT_TEST_FLAGS "" CACHE STRING "Compiler flags for the tests alone")
set(TIDEWRIGHT_SANITIZE "" CACHE STRING "Sanitizers, for instance address,undefined or thread")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2")

find_program(TIDEWRIGHT_CCACHE ccache)
if(TIDEWRIGHT_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # Without this sloppiness ccache leaves alone whatever uses a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${TIDEWRIGHT_CCACHE})
endif()
find_program(TIDEWRIGHT_MOLD mold)
find_program(TIDEWRIGHT_LLD ld.lld)
if(TIDEWRIGHT_MOLD)
  add_link_options(-fuse-ld=mold)
elseif(TIDEWRIGHT_LLD)
  add_link_options(-fuse-ld=lld)
endif()

find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(Boost 1.74 REQUIRED)
find_package(cpprestsdk REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(spdlog REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(CLI11 REQUIRED)
find_package(date REQUIRED)
find_package(PkgConfig REQUIRED)
tidewright_prefer_archives()
find_package(CURL REQUIRED)
pkg_check_modules(RE2 REQUIRED IMPORTED_TARGET re2)
pkg_check_modules(HIREDIS REQUIRED IMPORTED_TARGET hiredis)
pkg_check_modules(SNAPPY REQUIRED IMPORTED_TARGET snappy)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
set(TIDEWRIGHT_YAML yaml-cpp)
if(TIDEWRIGHT_STATIC_LIBRARIES)
  tidewright_trim_curl()
  tidewright_archive_of(yaml-cpp yaml-cpp)
  set(TIDEWRIGHT_YAML yaml-cpp_archive)
  add_link_options(-Wl,--as-needed -Wl,--gc-sections)
endif()

add_library(tidewright_options INTERFACE)
target_include_directories(tidewright_options INTERFACE ${PROJECT_SOURCE_DIR})
# hiredis asks for it; everywhere, because a precompiled header must be used as it was made.
target_compile_definitions(tidewright_options INTERFACE _FILE_OFFSET_BITS=64)
target_compile_options(tidewright_options INTERFACE -pthread -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers -Werror=unused-result
  -Werror=return-type $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety -Werror=thread-safety>)
# GCC collects its garbage again and again, a tenth of the compile time; one file needs less than 1 GiB without that.
target_compile_options(tidewright_options INTERFACE
  $<$<CXX_COMPILER_ID:GNU>:--param=ggc-min-expand=10000> $<$<CXX_COMPILER_ID:GNU>:--param=ggc-min-heapsize=1000000>)
if(TIDEWRIGHT_SANITIZE)
  target_compile_options(tidewright_options INTERFACE -fsanitize=${TIDEWRIGHT_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(tidewright_options INTERFACE -fsanitize=${TIDEWRIGHT_SANITIZE})
endif()

# One precompiled header for the modules that speak JSON and one for the tests: the two sets of headers that most of the
# compile time goes to. Elsewhere (Boost, cpprestsdk) a precompiled header costs more than it saves.
function(tidewright_pch name)
  cmake_parse_arguments(ARG "" "" "HEADERS;LINK;OPTIONS" ${ARGN})
  file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc CONTENT "// Carries the precompiled header.\n")
  add_library(${name} OBJECT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc)
  target_link_libraries(${name} PRIVATE tidewright_options Threads::Threads ${ARG_LINK})
  target_compile_options(${name} PRIVATE ${ARG_OPTIONS})
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
endfunction()
tidewright_pch(tidewright_json_pch LINK nlohmann_json::nlohmann_json
  HEADERS <algorithm> <functional> <map> <memory> <optional> <string> <string_view> <vector> ${PROJECT_SOURCE_DIR}/base/json.h)

# tidewright_module(name SOURCES a.cc ... HEADERS a.h ... [DEPS base ...] [LINK lib ...] [PUBLIC_LINK lib ...] [JSON])
# Folder = namespace = target = include prefix. JSON: most of its sources include base/json.h.
function(tidewright_module name)
  cmake_parse_arguments(ARG "JSON" "" "SOURCES;HEADERS;DEPS;LINK;PUBLIC_LINK" ${ARGN})
  add_library(tidewright_${name} STATIC ${ARG_SOURCES})
  add_library(tidewright::${name} ALIAS tidewright_${name})
  target_sources(tidewright_${name} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${ARG_HEADERS})
  list(TRANSFORM ARG_DEPS PREPEND tidewright::)
  target_link_libraries(tidewright_${name} PUBLIC tidewright_options ${ARG_DEPS} ${ARG_PUBLIC_LINK} Threads::Threads
    PRIVATE ${ARG_LINK})
  if(ARG_JSON)
    target_precompile_headers(tidewright_${name} REUSE_FROM tidewright_json_pch)
  endif()
endfunction()

# tidewright_embed(header NAMESPACE ns FILES file ...): makes a header of string constants from files.
function(tidewright_embed header)
  cmake_parse_arguments(ARG "" "NAMESPACE" "FILES" ${ARGN})
  string(REPLACE ";" "|" files "${ARG_FILES}")
  add_custom_command(OUTPUT ${header}
    COMMAND ${CMAKE_COMMAND} -DOUTPUT=${header} -DNAMESPACE=${ARG_NAMESPACE} "-DFILES=${files}"
      -P ${PROJECT_SOURCE_DIR}/cmake/EmbedFiles.cmake
    DEPENDS ${ARG_FILES} ${PROJECT_SOURCE_DIR}/cmake/EmbedFiles.cmake VERBATIM)
endfunction()

# tidewright_test(name SUITE unit|conformance|integration SOURCES a_test.cc ... [DEPS module ...] [LINK lib ...])
# One binary <name>_test, one ctest entry with the suite as its label.
function(tidewright_test name)
  cmake_parse_arguments(ARG "" "SUITE" "SOURCES;DEPS;LINK" ${ARGN})
  add_executable(${name}_test ${ARG_SOURCES})
  list(TRANSFORM ARG_DEPS PREPEND tidewright::)
  target_link_libraries(${name}_test PRIVATE tidewright_options ${ARG_DEPS} ${ARG_LINK} GTest::gmock GTest::gtest_main)
  target_compile_options(${name}_test PRIVATE ${TIDEWRIGHT_TEST_FLAGS})
  target_precompile_headers(${name}_test REUSE_FROM tidewright_test_pch)
  target_compile_definitions(${name}_test PRIVATE TIDEWRIGHT_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
    TIDEWRIGHT_BINARY="$<$<TARGET_EXISTS:tidewright>:$<TARGET_FILE:tidewright>>")
  add_test(NAME ${name} COMMAND ${name}_test)
  set_tests_properties(${name} PROPERTIES LABELS ${ARG_SUITE} TIMEOUT 300)
endfunction()

# tidewright_benchmark(name SOURCES ... DEPS ...): a Google Benchmark program, built with TIDEWRIGHT_BENCHMARKS.
function(tidewright_benchmark name)
  if(NOT TIDEWRIGHT_BENCHMARKS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name}_bench ${ARG_SOURCES})
  list(TRANSFORM ARG_DEPS PREPEND tidewright::)
  target_link_libraries(${name}_bench PRIVATE tidewright_options ${ARG_DEPS} benchmark::benchmark_main)
endfunction()

# tidewright_fuzzer(name SOURCES ... DEPS ...): a libFuzzer program, built with TIDEWRIGHT_FUZZERS and Clang.
function(tidewright_fuzzer name)
  if(NOT TIDEWRIGHT_FUZZERS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name}_fuzz ${ARG_SOURCES})
  list(TRANSFORM ARG_DEPS PREPEND tidewright::)
  target_compile_options(${name}_fuzz PRIVATE -fsanitize=fuzzer)
  target_link_options(${name}_fuzz PRIVATE -fsanitize=fuzzer)
  target_link_libraries(${name}_fuzz PRIVATE tidewright_options ${ARG_DEPS})
endfunction()
