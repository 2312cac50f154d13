"""All of Ray: searcher, trial scheduler, tuner, trackers."""
