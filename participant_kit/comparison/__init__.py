"""What evaluated models say about each other: two reports unit by unit, two test sets over many models."""
