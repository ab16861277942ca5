"""A world that is not ours: rooms of models that other people drew, never trained on."""
