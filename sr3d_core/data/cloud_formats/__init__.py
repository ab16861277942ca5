"""Files of points: the list of endings and what reads them.

A new format is its file in this folder and one line here. A reader gets path and content of the
file and returns a `RawCloud`; it is imported when a file of its kind is opened.
"""

READERS = {
    ".ply": "ply.read_ply",
    ".pcd": "pcd.read_pcd",
    ".npz": "arrays.read_npz",
    ".npy": "arrays.read_npy",
    ".txt": "text.read_text",
    ".xyz": "text.read_text",
    ".xyzrgb": "text.read_text",
    ".csv": "text.read_text",
    ".xyzn": "text.read_xyzn",
    ".pts": "text.read_pts",
    ".obj": "mesh.read_mesh",
    ".stl": "mesh.read_mesh",
    ".off": "mesh.read_mesh",
    ".gltf": "mesh.read_mesh",
    ".glb": "mesh.read_mesh",
}
"""Module in this folder and function, by the file's ending."""

SUFFIXES = tuple(READERS)
"""Endings of the files that can be read."""
