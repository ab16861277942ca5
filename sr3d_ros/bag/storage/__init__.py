"""Files of recordings: which there are, and their messages, also of damaged ones."""
