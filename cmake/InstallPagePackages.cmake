# cmake -DSOURCE=web/ui -DDIRECTORY=build/ui -DNPM=npm -P InstallPagePackages.cmake
#
# Installs what SOURCE/package-lock.json names in DIRECTORY, and links SOURCE/node_modules to it, so that editors and the
# compiler find it. Does nothing while the lock file is the one that was last installed: all presets share one DIRECTORY.
file(MAKE_DIRECTORY ${DIRECTORY})
file(LOCK ${DIRECTORY} DIRECTORY GUARD PROCESS TIMEOUT 600)
file(SHA256 ${SOURCE}/package-lock.json wanted)
set(stamp ${DIRECTORY}/installed)
set(installed "")
if(EXISTS ${stamp} AND EXISTS ${DIRECTORY}/node_modules)
  file(READ ${stamp} installed)
endif()
if(NOT installed STREQUAL wanted)
  message(STATUS "Installing the page's packages in ${DIRECTORY}")
  file(COPY ${SOURCE}/package.json ${SOURCE}/package-lock.json DESTINATION ${DIRECTORY})
  execute_process(COMMAND ${NPM} ci --ignore-scripts --no-audit --no-fund --loglevel=error WORKING_DIRECTORY ${DIRECTORY}
    RESULT_VARIABLE failed OUTPUT_QUIET)
  if(failed)
    message(FATAL_ERROR "The packages of the web page could not be installed; npm's message is above. They come from the npm "
      "registry, or from a mirror that ~/.npmrc names. Without either, configure with -DTIDEWRIGHT_UI=OFF: the program then "
      "has a plain page in its place, and everything else.")
  endif()
  file(WRITE ${stamp} ${wanted})
endif()
set(link ${SOURCE}/node_modules)
if(NOT IS_SYMLINK ${link})
  file(REMOVE_RECURSE ${link})
endif()
if(NOT EXISTS ${link})
  file(REMOVE ${link})
  file(CREATE_LINK ${DIRECTORY}/node_modules ${link} SYMBOLIC)
endif()
