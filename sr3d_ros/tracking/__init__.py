"""Which boxes of two frames are the same object."""
