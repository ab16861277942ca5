"""Where things stand: floor plan, furnishing by kind of room, the room as triangles."""
