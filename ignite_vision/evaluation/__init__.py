"""From predictions to numbers and tables."""
