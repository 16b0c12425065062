"""Many trainings: sweeps over settings, and which of the models to keep."""
