"""`python -m sr3d_ros.node`."""

import sys

from sr3d_ros.node.node import main

sys.exit(main())
