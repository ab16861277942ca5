"""The engine for CPUs: machine code that numba makes for the host, kept on disk."""
