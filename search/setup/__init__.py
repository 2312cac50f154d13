"""Before the first trial: inputs checked, machine measured, the run's folder made and locked."""
