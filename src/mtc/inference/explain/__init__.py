"""Attribution of verdicts to header fields and bytes."""
