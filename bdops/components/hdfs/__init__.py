"""HDFS: spoken to by Hadoop RPC and HTTP; no JVM is started."""
