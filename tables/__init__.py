"""What survives a worker: one row per stage and partition, in RocksDB and in a Kafka changelog."""
