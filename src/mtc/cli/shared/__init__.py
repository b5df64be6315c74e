"""Options, progress and tables that several commands share."""
