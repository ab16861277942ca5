"""The command line `sr3d`: each command parses, calls one function and prints."""

import os

# On a busy machine threads that spin at barriers cost more than they win. OpenMP reads this
# once, when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
