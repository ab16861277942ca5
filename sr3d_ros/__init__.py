"""SR3D on ROS 2: clouds in, labelled boxes out.

The messages of this package (`sr3d_ros.msg`) may have been built into another folder than these
modules: such folders join the path. Other copies of the modules do not, such as the one that pip
installs beside sr3d_core: nothing is to be taken from them that is missing here.
"""

import os
from pkgutil import extend_path

__version__ = "0.1.0"
_others = extend_path(__path__, __name__)[1:]
__path__ += [folder for folder in _others if os.path.isdir(os.path.join(folder, "msg"))]

# Between two clouds torch's threads are to sleep, not to spin: a robot has other work. OpenMP
# reads this once, when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
