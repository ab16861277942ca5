"""Sparse convolution by own Triton kernels."""
