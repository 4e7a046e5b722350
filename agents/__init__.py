"""What runs around one pure call: read a record, call a stage or write a sink, send what comes out, checkpoint."""
