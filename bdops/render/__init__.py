"""Results to text: table, json, yaml, nagios, prometheus. With cli, the only place that prints."""
