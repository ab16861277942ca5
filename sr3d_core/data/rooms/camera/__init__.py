"""How a room is seen: `models` lists the cameras; their noise, rendering, a robot's drive."""
