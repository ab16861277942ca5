"""What an evaluation says beyond average precision: where, of what, and how sure of itself."""
