"""Detections become messages of ROS."""
