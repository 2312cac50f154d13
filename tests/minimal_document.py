"""The least that a run.toml must hold to be read."""

SECTIONS = ("settings", "data", "engine", "slots", "versions", "hardware")
MINIMAL = "[record]\nversion = 1\n" + "".join(f"[{name}]\n" for name in SECTIONS)
