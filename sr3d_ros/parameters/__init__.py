"""The node's parameters as plain data: which there are, what values they take."""
