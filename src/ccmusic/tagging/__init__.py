"""Genres in the tags of files: the plan, the change of each file, the journal and undo."""
