"""The spine: event types, subjects, codec, the bus port with its adapters, the on-disk spool."""
