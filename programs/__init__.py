"""Programs that run in AWS and outside jobs: shipped as assets, with nothing else of this repository beside them."""
