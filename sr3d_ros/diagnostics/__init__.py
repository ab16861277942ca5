"""What is known about the frames so far, and what it means: counts, reports, advice."""
