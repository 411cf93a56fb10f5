"""Pictures of what a network looks at and how its training went."""
