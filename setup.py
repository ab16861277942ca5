"""For pip versions and tools that need a setup.py; everything is said in pyproject.toml.

colcon does not read this file: the ROS package is built by CMakeLists.txt.
"""

from setuptools import setup

setup()
