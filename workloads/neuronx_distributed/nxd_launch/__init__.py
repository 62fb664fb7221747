"""The parts of the launch file of neuronx-distributed: command lines of NxD's programs, and their placeholders."""
