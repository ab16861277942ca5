"""How a room is seen: `kinds` of sensors, camera `models`, noise, colors, poses, a drive."""
