"""What a robot remembers of the room around it; knows numpy and torch, never ROS."""
