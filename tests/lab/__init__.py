"""Real machines for tests: hypervisors in namespaces, LXC guests with systemd and the product in them."""
