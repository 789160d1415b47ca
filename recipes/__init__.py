"""The built-in recipes: one file each, `recipe = Recipe(...)`."""
