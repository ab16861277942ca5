"""What is in rooms and not labelled: `lists` says which, the other files make it."""
