"""Snapshots of ZooKeeper: taken through the AdminServer, read as files, proved, compared, restored."""
