"""The commands about evaluation sets, one and the same for the kit and for the scorer."""
