#!/usr/bin/env python3
"""Checks that every include stays within the layers of docs/architecture.md.

usage: check_layers.py SOURCE_DIR

The table under "The folders" of that page is the only place that says which folder may include which; this program
parses it, so page and check cannot part. It also checks the DEPS that each folder's CMakeLists.txt declares, and the
wall around http/: no other folder includes the libraries that speak HTTP and TLS, nor a header of http/ that shows them.
"""

import re
import sys
from pathlib import Path

TABLE = "docs/architecture.md"
ROW = re.compile(r"^\|\s*(`[a-z]+/`(?:,\s*`[a-z]+/`)*)\s*\|.*\|\s*([^|]*?)\s*\|$")
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')
EMBEDDED = re.compile(r"^[a-z]+_files\.h$")  # Made by cmake/EmbedFiles.cmake in the build folder, for one module alone.
WALLED = {"boost": "Boost", "cpprest": "cpprestsdk", "pplx": "cpprestsdk", "curl": "libcurl", "openssl": "OpenSSL"}


class TableError(Exception):
    """The page's table cannot be read; the check must then fail rather than pass."""


def parse_table(text):
    """Returns {folder: set of folders it may include, or None for all} from the page's text."""
    layers = {}
    for line in text.splitlines():
        match = ROW.match(line)
        if not match:
            continue
        cell = match.group(2)
        for folder in re.findall(r"`([a-z]+)/`", match.group(1)):
            if folder in layers:
                raise TableError(f"{TABLE}: {folder}/ has two rows")
            layers[folder] = None if cell == "all" else set(re.findall(r"[a-z]+", cell))
    if not layers:
        raise TableError(f"{TABLE}: no row of the form | `folder/` | ... | may include | was found")
    for folder, allowed in layers.items():
        for other in sorted((allowed or set()) - layers.keys()):
            raise TableError(f"{TABLE}: {folder}/ may include {other}, which has no row")
    return layers


def headers_behind_wall(root):
    """Returns {"http/x.h": library} for the headers of http/ that include a walled library, directly or through others."""
    includes = {}
    for path in (root / "http").rglob("*.h"):
        matches = filter(None, map(INCLUDE.match, path.read_text(errors="replace").splitlines()))
        includes[path.relative_to(root).as_posix()] = [match.group(1) or match.group(2) for match in matches]
    behind = {}
    grew = True
    while grew:
        grew = False
        for header, targets in includes.items():
            libraries = [WALLED.get(target.split("/")[0]) or behind.get(target) for target in targets]
            if header not in behind and any(libraries):
                behind[header] = next(filter(None, libraries))
                grew = True
    return behind


def check_wall(place, folder, behind, target):
    """The libraries that speak HTTP and TLS are for http/ alone; tests may use them as foreign peers."""
    library = WALLED.get(target.split("/")[0])
    if library and folder not in ("http", "tests"):
        return f"{place}: {folder} must not include <{target}>: only http sees {library}"
    if target in behind and folder not in ("http", "tests"):
        return f"{place}: {folder} must not include {target}: it shows {behind[target]}"
    return None


def check_include(place, folder, layers, behind, quoted, angled):
    """Returns what is wrong with one include, or None."""
    error = check_wall(place, folder, behind, quoted or angled)
    if error or angled:
        return error
    target = quoted.split("/")[0]
    if EMBEDDED.match(quoted):
        return None
    if "/" not in quoted:
        return f'{place}: write "{quoted}" with its folder, as in "{folder}/{quoted}"'
    if target == folder or folder == "tests":
        return None
    allowed = layers[folder]
    if target == "tests" or target not in layers:
        return f"{place}: {folder} must not include {target}: it is no folder of {TABLE}"
    if allowed is not None and target not in allowed:
        return f"{place}: {folder} must not include {target}"
    return None


def check_file(root, path, folder, layers, behind):
    errors = []
    relative = path.relative_to(root)
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            error = check_include(f"{relative}:{number}", folder, layers, behind, *match.groups())
            if error:
                errors.append(error)
    return errors


def check_cmake(root, path, folder, layers):
    """The libraries that a module links must be those whose headers it may include."""
    allowed = layers[folder]
    text = path.read_text()
    errors = []
    for call in re.finditer(r"tidewright_module\((.*?)\)", text, re.DOTALL):
        deps = re.search(r"\bDEPS\b((?:\s+[a-z_]+\b)*)", call.group(1))
        for dep in deps.group(1).split() if deps else []:
            module = dep.split("_")[0]  # scaler_cron is a part of scaler.
            if allowed is not None and module != folder and module not in allowed:
                line = text.count("\n", 0, call.start()) + 1
                errors.append(f"{path.relative_to(root)}:{line}: {folder} must not depend on {dep}")
    return errors


def check_tree(root):
    """Returns (errors, number of files read)."""
    layers = parse_table((root / TABLE).read_text())
    behind = headers_behind_wall(root)
    errors, files = [], 0
    for folder in layers:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".h", ".cc"):
                files += 1
                errors += check_file(root, path, folder, layers, behind)
            elif path.name == "CMakeLists.txt" and folder != "tests":
                errors += check_cmake(root, path, folder, layers)
    known = set(layers) | {"build"}
    for path in sorted(root.glob("*/*")):
        if path.suffix in (".h", ".cc") and path.parent.name not in known:
            errors.append(f"{path.relative_to(root)}:1: {path.parent.name}/ has no row in {TABLE}")
    return errors, files


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    try:
        errors, files = check_tree(root)
    except (TableError, OSError) as error:
        errors, files = [str(error)], 0
    for error in errors:
        print(error, file=sys.stderr)
    if not errors and files == 0:
        print(f"{root}: no source file found", file=sys.stderr)
        return 1
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
