"""The `hcs` command. One module per group of subcommands; `main` ties them together."""
