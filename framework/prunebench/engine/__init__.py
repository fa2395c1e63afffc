"""Many trials on many devices: sessions, executors, workers, and what they are doing."""
