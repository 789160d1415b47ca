"""What tests of several modules need."""
