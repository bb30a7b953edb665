"""One adapter per vendor's management library; `port` says what each offers."""
