"""Lambda functions: a folder each, shipped under this package's name with the modules beside this one."""
