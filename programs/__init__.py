"""Programs that run in AWS and outside jobs: deployed as assets, without the rest of this repository."""
