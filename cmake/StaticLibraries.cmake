# With TIDEWRIGHT_STATIC_LIBRARIES third-party code comes from archives where Debian has them. What stays shared is what
# cpprestsdk, which has no archive, brings anyway: OpenSSL, zlib, Brotli, libstdc++. docs/performance.md says what it saves.
include_guard()

option(TIDEWRIGHT_STATIC_LIBRARIES "Link archives of third-party libraries, and libcurl without other protocols" OFF)

# Call between find_package() of what stays shared and of the rest. A build folder may remember the shared ones.
macro(tidewright_prefer_archives)
  if(TIDEWRIGHT_STATIC_LIBRARIES)
    foreach(found CURL_LIBRARY_RELEASE pkgcfg_lib_RE2_re2 pkgcfg_lib_HIREDIS_hiredis pkgcfg_lib_SNAPPY_snappy
        pkgcfg_lib_ZSTD_zstd)
      unset(${found} CACHE)
    endforeach()
    set(CMAKE_FIND_LIBRARY_SUFFIXES .a ${CMAKE_FIND_LIBRARY_SUFFIXES})
  endif()
endmacro()

# libcurl speaks LDAP, RTMP, SSH, Kerberos and knows public suffixes, through libraries that bring twenty more.
# http/client_curl.cc allows HTTP alone, with neither Negotiate nor cookies, and http/mail.cc SMTP without Kerberos, so
# that nothing of them is ever called, but for starting and ending libssh2. Functions that end the process stand in for them.
function(tidewright_trim_curl)
  if(NOT CURL_LIBRARY_RELEASE MATCHES "\\.a$")
    message(FATAL_ERROR "TIDEWRIGHT_STATIC_LIBRARIES needs libcurl.a, but CMake found ${CURL_LIBRARY_RELEASE}")
  endif()
  execute_process(COMMAND ${CMAKE_NM} --undefined-only --format=posix ${CURL_LIBRARY_RELEASE} OUTPUT_VARIABLE symbols ERROR_QUIET
    COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "\n(ldap|ber|RTMP|libssh2|gss|GSS_C|psl)_[A-Za-z0-9_]+" symbols "${symbols}")
  list(TRANSFORM symbols STRIP)
  list(REMOVE_DUPLICATES symbols)
  list(REMOVE_ITEM symbols libssh2_init libssh2_exit)
  set(text "#include <cstdlib>\n\nextern \"C\" {\nint libssh2_init(int) { return 0; }\nvoid libssh2_exit() {}\n")
  foreach(symbol IN LISTS symbols)
    string(APPEND text "[[noreturn]] void ${symbol}() { std::abort(); }\n")
  endforeach()
  file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/unused_protocols.cc CONTENT "${text}}\n")
  add_library(tidewright_unused_protocols STATIC ${CMAKE_BINARY_DIR}/unused_protocols.cc)
  find_library(TIDEWRIGHT_NGHTTP2 NAMES libnghttp2.a REQUIRED)
  find_library(TIDEWRIGHT_IDN2 NAMES libidn2.so.0 REQUIRED)
  find_library(TIDEWRIGHT_BROTLIDEC NAMES libbrotlidec.so.1 REQUIRED)
  set_property(TARGET CURL::libcurl APPEND PROPERTY INTERFACE_LINK_LIBRARIES tidewright_unused_protocols ${TIDEWRIGHT_NGHTTP2} ${TIDEWRIGHT_IDN2}
    ${TIDEWRIGHT_BROTLIDEC} PkgConfig::ZSTD OpenSSL::SSL OpenSSL::Crypto ZLIB::ZLIB)
endfunction()

# yaml-cpp's CMake file knows its shared form only.
function(tidewright_archive_of target name)
  find_library(TIDEWRIGHT_ARCHIVE_${name} NAMES lib${name}.a REQUIRED)
  add_library(${target}_archive STATIC IMPORTED GLOBAL)
  get_target_property(includes ${target} INTERFACE_INCLUDE_DIRECTORIES)
  set_target_properties(${target}_archive PROPERTIES IMPORTED_LOCATION ${TIDEWRIGHT_ARCHIVE_${name}})
  if(includes)
    set_target_properties(${target}_archive PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${includes}")
  endif()
endfunction()
