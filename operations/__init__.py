"""What every process of ours shares with its operator: configuration files, logs, the metrics endpoint."""
