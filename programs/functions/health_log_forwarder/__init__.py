"""Health records of HyperPod's agent, published on a topic."""
