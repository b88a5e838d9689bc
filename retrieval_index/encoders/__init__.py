"""Encoders: anything that turns texts into vectors, and how one is found by name."""
