"""Lambda functions: one folder each, deployed under this package's name with the modules beside this one."""
