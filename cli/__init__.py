"""The command line. Never imports the daemon, but for `cli.offline`."""
