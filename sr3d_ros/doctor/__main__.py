"""`python -m sr3d_ros.doctor`."""

import sys

from sr3d_ros.versions import require_one_version

require_one_version()
from sr3d_ros.doctor.main import main  # noqa: E402

sys.exit(main())
