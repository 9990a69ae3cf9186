"""The organiser's side: commands over the API, from any machine."""
