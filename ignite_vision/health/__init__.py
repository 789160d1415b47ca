"""What may be wrong with images, found before anything is trained on them."""
