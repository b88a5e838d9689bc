"""An open index: its segments, their hits, and the passages these stand for."""
