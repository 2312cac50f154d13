"""Learning curves of the default space, trained to the end and in cheaper ways."""
