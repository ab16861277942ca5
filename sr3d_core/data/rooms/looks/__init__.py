"""Color images of procedural rooms: what a network that has no depth sensor learns from."""
