"""What a Hadoop server that bdops runs itself (for a drill, in the lab) is started with: its files, as texts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

WEBAPPS = ("hdfs", "datanode", "journal", "secondary", "cluster", "node", "static")
"""The folders that Hadoop's HTTP servers demand on the class path; the jars do not bring them, empty ones do."""

_LOG4J = """\
log4j.rootLogger=INFO,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.out
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
"""


def log4j(*quiet: str) -> str:
    """A log4j.properties: all to the standard output, of these loggers warnings alone."""
    return _LOG4J + "".join(f"log4j.logger.{name}=WARN\n" for name in quiet)


def xml(properties: Mapping[str, str]) -> str:
    """A Hadoop configuration file."""
    entries = "".join(
        f"  <property><name>{escape(name)}</name><value>{escape(value)}</value></property>\n"
        for name, value in properties.items()
    )
    return f'<?xml version="1.0"?>\n<configuration>\n{entries}</configuration>\n'
