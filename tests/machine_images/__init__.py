"""The roles of machine images, run in a Debian root that is made here, with fake vendors on the loopback address."""
