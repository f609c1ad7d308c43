"""The commands of the command line, one file each; the exit codes; the pages that are generated from them."""
