"""What serving needs of a model: its card, its location on disk, its golden clips."""
