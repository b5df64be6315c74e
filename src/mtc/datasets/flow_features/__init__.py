"""CICFlowMeter's flow features: columns, tables in CSV and Parquet, scaling, balance."""
