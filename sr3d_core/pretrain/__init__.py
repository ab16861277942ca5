"""Pre-training from unlabelled clouds: DOS (arXiv 2512.11465) and AsymDSD (arXiv 2506.21724).

A student sees part of a cloud and learns to say of it what a teacher, the moving average of
itself, says of the whole. Nothing here knows labels; what comes out are weights to start a
training from.
"""
