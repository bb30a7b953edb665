"""What runs on a node: detectors, fault watching, the quota socket; and simulated nodes."""
