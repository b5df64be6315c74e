"""What several commands share: output files, capture inputs, tables of scores."""
