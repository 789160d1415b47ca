"""From a model file to answers."""
