"""Deployments of our stacks to the emulator with the real CDK CLI, and the demo."""
