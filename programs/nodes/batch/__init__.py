"""Set-up of hosts of AWS Batch: their disks and file system by a script, their metrics by a program."""
