"""Recordings: reading, running and scoring them; without ROS."""
