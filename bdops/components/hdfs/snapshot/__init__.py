"""Snapshots of HDFS directories and images of the NameNode: made, listed, compared, held, pruned, proved."""
