"""Recordings published over ROS: what `ros2 bag play --clock` does, of all that `sr3d bag` reads.

choice        which topics, with which quality of service
layout        whether a recorded type is the installed one
contents      their messages as bytes, and the static transforms
timeline      when each is due, and /clock in between
player        one pass after the other
publishers    the only file of recordings that needs ROS
"""
