"""What speaks to a ZooKeeper server: its AdminServer, its four-letter words, and a session of a client."""
