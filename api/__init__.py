"""The HTTP face of the daemon, and the client of other daemons."""
