"""Remote and local hosts: SSH, service managers, secrets."""
