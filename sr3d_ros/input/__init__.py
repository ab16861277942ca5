"""What sensors send beside clouds, and what is done to points before the detector sees them."""
