"""The web page of ``mtc serve``: captures, jobs, reasons, running watches and models.

It uses the same jobs, models and events as the API, in the same process, and loads nothing from elsewhere.
"""

from mtc.serving.page.site import add_page

__all__ = ["add_page"]
