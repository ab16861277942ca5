"""Figures of a recording: per frame, per object, how steady they are, and at the sensor's pace."""
