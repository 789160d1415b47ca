"""The commands: every click command in a module of this folder is one. Imported for `--help`, so without torch."""
