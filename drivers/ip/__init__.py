"""Drivers of the group `ip`, one module a family of types."""
