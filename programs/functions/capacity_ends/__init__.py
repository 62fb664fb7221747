"""Hours until the reserved capacity of a deployment ends, as metrics of CloudWatch."""
