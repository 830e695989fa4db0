"""How well a matcher does, against chance and against the position prior."""
