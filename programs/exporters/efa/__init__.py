"""The exporter of EFA devices: counters of ports and devices, states, rates."""
