"""What stands behind each command of the command line: one file per command."""
