"""The fixtures of the browser tests are in browsing.py, which the screenshots use too."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from browsing import browser, front, pages, site  # noqa: E402,F401
