"""Machine images that EC2 Image Builder builds: components, recipe, pipeline, rights and life cycle."""
