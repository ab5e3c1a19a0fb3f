"""Drivers of the group `app`, one module a family of types."""
