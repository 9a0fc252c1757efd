"""bdops: look after Kafka, HDFS, Elasticsearch and ZooKeeper from the command line."""

__version__ = "0.1.0"
