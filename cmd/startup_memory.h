// Memory that only the start of the program needs.
#pragma once

namespace tidewright::cmd {

// Unmaps the pages of code and constants that have been touched so far, of the program and of its libraries, and gives
// free heap pages back. Resolving symbols, reading flags and configuration and making the first connections touch more
// than the program needs afterwards; what it does need is mapped again when it runs into it, from the page cache, at
// about a microsecond for every 16 pages. Pages that were written to are left alone. Thread-safe; costs less than a
// millisecond.
void ReleaseStartupMemory();

}  // namespace tidewright::cmd
