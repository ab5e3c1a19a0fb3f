"""Drivers of the group `fs`, one module a family of types."""
