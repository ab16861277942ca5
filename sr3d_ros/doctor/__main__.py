"""`python -m sr3d_ros.doctor`."""

import sys

from sr3d_ros.doctor.main import main

sys.exit(main())
