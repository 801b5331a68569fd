//! A `Sockets` in memory, for the tests of applications.
