"""A run on disk: its folder, its checkpoints, and what it needs before it starts."""
