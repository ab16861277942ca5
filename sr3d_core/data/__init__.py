"""Where labelled scenes come from: readers, procedural rooms, augmentation."""
