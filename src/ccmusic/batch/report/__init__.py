"""The report of a library: one HTML file that opens from disk and sends nothing."""
