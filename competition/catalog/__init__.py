"""The built-in competitions, one folder each: the competition file, and what builds its data where that is code."""
