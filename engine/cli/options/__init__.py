"""The options that several commands share: how they are declared, where their values come from (command line,
environment, files), and what is checked before a command runs. What a command does with them is its own module's."""
