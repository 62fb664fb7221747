"""The embedded AWS emulator: moto's server with a CloudFormation engine and resource types of our own.

moto's CloudFormation skips a type that it does not know and calls the stack complete, so a green deployment
against it proves nothing. Here every property is checked against CloudFormation's own resource schemas,
every type that the stacks use has a small handler that calls the emulated service as AWS would, and an
unknown type fails the stack by name. `python -m emulator` runs it in the foreground.
"""
