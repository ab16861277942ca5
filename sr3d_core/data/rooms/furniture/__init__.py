"""What is labelled: `classes` is the list; each other file makes the pieces of some classes."""
