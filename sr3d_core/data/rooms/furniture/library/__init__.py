"""Furniture from a file: made once by other generators, used by rooms beside our own makers."""
