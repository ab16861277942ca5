"""Recordings: the node's way without ROS, scored and listed."""
