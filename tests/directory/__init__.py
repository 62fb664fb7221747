"""The directory's own program, run against the slapd, openssl and SSSD of Debian."""
