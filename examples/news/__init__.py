"""Two news models, topic and sentiment, from public data to a model registry.

`python -m news.train --state-dir DIR` does everything; README.md says how to make it train a model of yours.
"""
