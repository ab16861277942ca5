"""Sparse convolution on voxels: tensors, kernel maps, layers, engines."""
