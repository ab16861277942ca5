"""Why does the detector not see anything? Checks of a robot, one after the other."""
