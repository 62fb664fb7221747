"""Settings: what a person chooses, read from `config/` into frozen models and checked as a whole."""
