"""The exporter of a cluster's runs: their progress, their time by activity, their ranks."""
