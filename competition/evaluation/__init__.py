"""The official protocols. Participants and the scorer run this same code, so their numbers agree."""
