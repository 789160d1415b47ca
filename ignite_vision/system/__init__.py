"""The machine under a run: devices, memory, files, signals, processes. Nothing here knows a recipe or a run."""
