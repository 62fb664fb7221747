"""Machine images: Ansible playbooks and roles, Packer templates, and the programs that write what both take."""
