"""One module per command, each imported when it is asked for: parse, one public call, render. Composition is `cli.project`'s."""
