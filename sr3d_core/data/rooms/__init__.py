"""Procedural rooms: labelled clouds made from nothing but a seed."""

from sr3d_core.data.rooms.dataset import PrerenderedRooms, Rooms, RoomsError
from sr3d_core.data.rooms.furniture.classes import LABELS
from sr3d_core.data.rooms.looks.dataset import PrerenderedImages, RoomImages
from sr3d_core.data.rooms.prerender import prerender
from sr3d_core.data.rooms.sample import room_sample, room_samples
from sr3d_core.data.rooms.sheet import contact_sheet, image_sheet

__all__ = [
    "LABELS",
    "PrerenderedImages",
    "PrerenderedRooms",
    "RoomImages",
    "Rooms",
    "RoomsError",
    "contact_sheet",
    "image_sheet",
    "prerender",
    "room_sample",
    "room_samples",
]
