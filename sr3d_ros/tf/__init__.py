"""Where frames lie, and which way is up."""
