"""The command line `sr3d`: each command parses, calls one function and prints."""
