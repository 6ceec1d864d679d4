// Reports that the thread sanitizer cannot get right. Link this file into tests that use the cpprestsdk client.

extern "C" const char* __tsan_default_suppressions();

// libcpprest.so is not instrumented: the reference counts by which it hands objects between threads are invisible, so
// that whoever drops the last reference seems to race with everyone who dropped one before.
extern "C" const char* __tsan_default_suppressions() { return "race:libcpprest.so\n"; }
