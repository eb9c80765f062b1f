"""The object that a model gets as `lazy_data_resolver`.

Data is complete before the model starts, so there is nothing to wait for.
"""

from __future__ import annotations

from pathlib import Path


class LazyDataResolverV2:
    """Keeps the name and methods that models know from the packaging format."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def block_until_download_complete(self, log_stats: bool = True, issue_collect: bool = True) -> str:
        """Returns at once: everything was downloaded when the deployment was built."""
        return ""

    def raise_if_not_collected(self) -> None:
        """Never raises, for the same reason."""
