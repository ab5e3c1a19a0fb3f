"""Container drivers, one module a type."""
