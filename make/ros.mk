# The tests that need ROS 2. make/ros_environment.py finds or makes the environments, and says so
# where there are none. The including Makefile sets VENV, PYTHON and the rule that fills VENV.
#
# Settings:  ROS_WHEELS=kilted,jazzy   the distributions whose pip wheels are tested on
#            ROS_JOBS=4                how many files of tests run at once on each of them
ROS_WHEELS ?= kilted,jazzy
ROS_JOBS ?= 4
.PHONY: ros-environment test-ros

ros-environment: $(VENV)/.installed-dev ## make .venv-kilted and .venv-jazzy: ROS 2 from pip wheels
	$(PYTHON) make/ros_environment.py $(ROS_WHEELS) -c "import rclpy, sr3d_ros.msg, vision_msgs.msg"

test-ros: $(VENV)/.installed-dev ## the tests against real rclpy, on every distribution at once
	OMP_NUM_THREADS=1 $(PYTHON) make/ros_environment.py --at-once $(ROS_WHEELS) \
	  -m pytest test/ros -n $(ROS_JOBS) --dist loadfile
