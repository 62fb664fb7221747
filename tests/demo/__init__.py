"""The demo, `make demo`: deploys a configuration to the emulator with the real CDK CLI, updates it, destroys it."""
