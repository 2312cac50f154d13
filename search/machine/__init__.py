"""The machine a run works on: hardware, slots, signals, temporary folders."""
