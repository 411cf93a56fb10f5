"""The command line of macnn: what a person types, and what they read."""
