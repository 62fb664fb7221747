"""Tests of the emulator itself: stacks of a few resources, moto's internals, refusals, the child process."""
