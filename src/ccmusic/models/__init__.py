"""What serving needs of a model: its card, its place on disk, its golden clips."""
