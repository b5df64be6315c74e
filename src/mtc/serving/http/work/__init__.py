"""What happens to captures of strangers, in a process of its own for each job or question.

Nothing here runs in the server's process, and nothing of the network libraries is imported there.
"""
