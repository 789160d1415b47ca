"""Compare runs on the same test images."""
