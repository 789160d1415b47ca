"""From files and arrays to images of one size, each with a class, in three splits."""
