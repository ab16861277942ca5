"""SR3D on ROS 2: clouds in, labelled boxes out.

The messages of this package (`sr3d_ros.msg`) are generated into another folder than these
modules when the package is built; the path is extended so that both are one package.
"""

import os
from pkgutil import extend_path

__version__ = "0.1.0"
__path__ = extend_path(__path__, __name__)

# Between two clouds torch's threads are to sleep, not to spin: a robot has other work. OpenMP
# reads this once, when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
