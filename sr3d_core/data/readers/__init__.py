"""Readers of other people's layouts, one file each; `sr3d_core.data.sources` is their list."""
