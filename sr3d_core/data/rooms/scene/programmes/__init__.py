"""What stands in which kind of room, and how often which kind comes."""

from sr3d_core.data.rooms.scene.programmes.bathroom import bathroom
from sr3d_core.data.rooms.scene.programmes.furnishing import furnish
from sr3d_core.data.rooms.scene.programmes.groups import Programme
from sr3d_core.data.rooms.scene.programmes.homes import flat, open_plan, shared_flat, workplace
from sr3d_core.data.rooms.scene.programmes.kitchen import kitchen
from sr3d_core.data.rooms.scene.programmes.public import (
    break_room,
    class_room,
    corridor,
    hotel_room,
    meeting_room,
    student_room,
)
from sr3d_core.data.rooms.scene.programmes.rooms import (
    bedroom,
    dining_room,
    living_room,
    mixed_room,
    office,
)

SUITES: tuple[tuple[Programme, float, tuple[float, float]], ...] = (
    (flat, 0.17, (7.0, 9.5)),
    (open_plan, 0.12, (7.0, 9.0)),
    (workplace, 0.06, (7.0, 9.5)),
    (shared_flat, 0.05, (7.0, 9.5)),
)
"""Homes and work places of several rooms; as `PROGRAMMES`."""

PROGRAMMES: tuple[tuple[Programme, float, tuple[float, float]], ...] = (
    (bedroom, 0.12, (2.8, 5.5)),
    (living_room, 0.08, (3.2, 8.0)),
    (dining_room, 0.03, (2.8, 6.0)),
    (office, 0.06, (2.8, 7.5)),
    (kitchen, 0.06, (2.5, 5.5)),
    (bathroom, 0.08, (2.0, 3.8)),
    (meeting_room, 0.02, (3.5, 8.0)),
    (class_room, 0.03, (5.0, 9.0)),
    (hotel_room, 0.02, (3.2, 6.0)),
    (student_room, 0.02, (2.8, 4.8)),
    (corridor, 0.01, (1.6, 7.0)),
    (break_room, 0.01, (3.5, 8.0)),
    (mixed_room, 0.06, (3.0, 7.0)),
    *SUITES,
)
"""Rooms, how often they come, and the range of their sides in metres; 40 % are suites."""

__all__ = ["PROGRAMMES", "SUITES", "Programme", "furnish"]
