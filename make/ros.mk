# The tests that need ROS 2. make/ros_environment.py finds or makes the environment, and says so
# where there is none. The including Makefile sets VENV, PYTHON and the rule that fills VENV.
.PHONY: ros-environment test-ros

ros-environment: $(VENV)/.installed-dev ## make .venv-kilted: ROS 2 from pip wheels, messages compiled
	$(PYTHON) make/ros_environment.py -c "import rclpy, sr3d_ros.msg, vision_msgs.msg"

test-ros: $(VENV)/.installed-dev ## the tests against real rclpy
	OMP_NUM_THREADS=1 $(PYTHON) make/ros_environment.py -m pytest test/ros
