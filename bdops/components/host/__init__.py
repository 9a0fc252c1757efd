"""Hosts by SSH: reachable, clock, disks, and the service managers' view of the instances."""
