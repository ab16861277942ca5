"""What the training loop stands on: several processes, shared batch norm, the state on disk."""
